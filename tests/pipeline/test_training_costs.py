from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt import Mixture
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.mixture_runs import RunSpec, ScoredRun, name_mixture, train_runs
from mixopt.pipeline.training_costs import Trainings

NATURAL = {"birds": 0.8, "ships": 0.1, "sums": 0.1}
SHARES, OTHER, NEW = [0.8, 0.1, 0.1], [0.2, 0.4, 0.4], [0.1, 0.1, 0.8]
UNIT = 1000
SHORT, LONG = 1024, 4096
"""Tokens of runs of one and four units: the toy trains 256 a step."""


def open_toy(folder, **changes):
    training = {"tokens": UNIT, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 99}
    return toy.load(folder, toy.write_study(
        folder, training=training | changes, search={"rounds": [6], "natural": NATURAL},
        budget={"runs": 40, "longest": 4},
    ))  # fmt: skip


def seen(ratios, *lengths, seed=0):
    return [Observation(np.array(ratios), seed, tokens, np.zeros(1)) for tokens in lengths]


@pytest.fixture
def with_runs(tmp_path, monkeypatch):
    """Open the trainings of a study whose store has some runs: names and what was asked for."""
    monkeypatch.setattr(
        "mixopt.pipeline.training_runs.mixture_run",
        lambda _, name, ratios, seed, marks: SimpleNamespace(artifact=(name, tuple(marks))),
    )

    def open_trainings(*stored, **changes):
        config = open_toy(tmp_path, **changes).config
        store = SimpleNamespace(find=lambda artifact: artifact if artifact in stored else None)
        corpora = SimpleNamespace(natural=Mixture(NATURAL))
        return Trainings(SimpleNamespace(config=config, store=store, corpora=corpora))

    return open_trainings


def run(ratios, *marks, seed=0):
    return f"{name_mixture(Mixture(dict(zip(toy.WORDS, ratios, strict=True))))}-{seed}", marks


def test_at_a_constant_rate_short_lengths_are_checkpoints_unless_the_store_has_the_short_run(
    with_runs,
):
    observed = seen(OTHER, SHORT, LONG)
    assert with_runs().count_tokens(observed) == LONG
    twice = with_runs(run(OTHER, UNIT))
    assert twice.count_tokens(observed) == SHORT + LONG
    assert len({twice.name(each) for each in observed}) == 2
    # of another seed, or of another mixture
    assert with_runs(run(OTHER, UNIT, seed=1), run(NEW, UNIT)).count_tokens(observed) == LONG


def test_the_first_runs_of_natural_are_trained_before_longer_ones(with_runs):
    first = run(SHARES, UNIT // 4, UNIT // 2, UNIT)
    observed = seen(SHARES, 256, 512, SHORT, LONG)
    trainings = with_runs(first)
    assert trainings.count_tokens(observed) == SHORT + LONG
    assert len({trainings.name(each) for each in observed}) == 2


def test_the_first_runs_of_natural_cost_tokens_where_nothing_observed_them(with_runs):
    marks = UNIT // 4, UNIT // 2, UNIT
    both = with_runs(run(SHARES, *marks), run(SHARES, *marks, seed=1))
    assert both.count_tokens([]) == 2 * UNIT
    assert both.count_tokens(seen(SHARES, SHORT)) == SHORT + UNIT
    assert with_runs().count_tokens([]) == 0
    # natural is there to be compared with
    assert both.price([], np.array(NEW), UNIT) == UNIT
    assert both.price([], np.array(NEW), 4 * UNIT) == 8 * UNIT


def test_with_a_decaying_rate_each_length_is_a_training(with_runs):
    trainings = with_runs(schedule="linear")
    observed = [each for row in (SHARES, OTHER) for each in seen(row, SHORT, LONG)]
    assert trainings.count_tokens(observed) == 2 * (SHORT + LONG)
    # natural's run of four units has no checkpoint of one
    assert trainings.price(observed[1:2], np.array(NEW), UNIT) == 2 * UNIT
    assert with_runs().price(observed[1:2], np.array(NEW), UNIT) == UNIT


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("steps", [250, 256])
def test_a_run_of_whole_steps_is_one_of_the_length_that_was_asked_for(with_runs, schedule, steps):
    """Where steps have 250 tokens, or 256, a run has more tokens than asked for, or fewer."""
    trainings = with_runs(schedule=schedule)
    short = 4 * steps - (steps == 250) * 24
    observed = [each for seed in (0, 1) for each in seen(SHARES, short, 4 * short, seed=seed)]
    for length in (UNIT, 4 * UNIT):
        assert trainings.price(observed, np.array(NEW), length) == length
        known = seen(OTHER, short, 4 * short)
        # the next seed is natural's too
        assert trainings.price([*observed, *known], np.array(OTHER), length) == length
        assert trainings.price([*observed[:2], *known], np.array(OTHER), length) == 2 * length


def test_the_costs_are_those_of_the_outcomes_in_the_store(tmp_path, monkeypatch):
    study = open_toy(tmp_path)
    trials = study.search()
    (proposal,) = study.propose(trials)
    # natural's first runs measure the noise of the objective before anything is bought
    experts, first = proposal.decision.learning
    assert (first.tokens - experts.tokens, first.runs) == (2 * UNIT, 0)
    assert {run.price for run in proposal.decision.next_runs} <= {UNIT, 8 * UNIT}
    context, observed = study.context, []
    for ratios, lengths in ((OTHER, [(UNIT,), (UNIT, 4 * UNIT)]), (NEW, [(UNIT, 4 * UNIT)])):
        mixture = Mixture(dict(zip(toy.WORDS, ratios, strict=True)))
        specs = [RunSpec(f"{name_mixture(mixture)}-0", mixture, 0, marks) for marks in lengths]
        for spec, scored in train_runs(context, specs):
            assert isinstance(scored, ScoredRun)
            row = spec.ratios.vector(context.config.domains)
            observed += seen(row, *scored.logprobs)
    trainings = Trainings(context)
    assert {each.tokens for each in observed} == {SHORT, LONG}
    assert trainings.count_tokens(observed) == SHORT + 2 * LONG + 2 * UNIT
    assert len({trainings.name(each) for each in observed}) == 3
    monkeypatch.setattr("mixopt.pipeline.status.spend_budget", lambda *_: observed)
    rows = {row.what: row.why for row in study.status()}
    assert rows["runs of the budget"] == "3 trained"
