from dataclasses import replace

import numpy as np
import pytest
import toy

from mixopt import Estimate, Mixture
from mixopt.decision import Decision
from mixopt.optimization.objective import Objective
from mixopt.pipeline.decide import decide_study
from mixopt.pipeline.gain_curve import choose, estimate_gain
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.mixture_runs import FRESH
from mixopt.proposal import Proposal
from mixopt.trial import Metric

NATURAL = {"birds": 0.8, "ships": 0.1, "sums": 0.1}


@pytest.fixture(scope="module")
def searched(tmp_path_factory, trained_toy):
    folder = tmp_path_factory.mktemp("curve")
    toy.copy_trained(trained_toy, folder)
    search = {"rounds": [6], "natural": NATURAL}
    study = toy.load(folder, toy.write_study(folder, search=search))
    return study, study.search()


def decide(searched, observations=()):
    study, trials = searched
    policy = study.open_policy().with_observations(list(observations))
    proposals = [Proposal(Mixture.uniform(study.config.domains), None, {})]
    return decide_study(study.context, study.open_search(), policy, trials, proposals)


def pair(searched, ratios, seed, gain, lengths=(2000, 4000)):
    """Runs of natural and of a mixture with a seed, whose losses are lower by a gain."""
    study, trials = searched
    natural = Mixture(NATURAL).vector(study.config.domains)
    m = sum(metric.role == "search" for metric in trials.metrics)
    return [
        Observation(row, seed, tokens, np.full(m, 2.0 - better))
        for row, better in ((natural, 0.0), (ratios.vector(study.config.domains), gain))
        for tokens in lengths
    ]


def test_before_any_run_there_is_one_step_and_a_next_run(searched):
    decision = decide(searched)
    (step,) = decision.learning
    config = searched[0].config
    assert step.tokens == len(config.experts) * config.training.expert_length
    assert (step.runs, step.moves) == (0, decision.moves)
    assert step.gain == decision.gain
    assert [run.tokens for run in decision.next_runs] == list(config.run_lengths)
    again = Decision.from_dict(
        Proposal(decision.ratios, Estimate(0, 1), {}, decision=decision).to_dict()["decision"]
    )
    assert (again.learning, again.next_runs) == (decision.learning, decision.next_runs)
    for run in decision.next_runs:
        assert run.price == 2 * run.tokens  # natural has no run to compare with
        assert 0 < run.value < decision.gain.std_error


def test_next_runs_have_the_text_that_they_read(searched, monkeypatch):
    study, _ = searched
    assert len(study.config.run_lengths) == 1
    best = decide(searched).next_runs[0]
    counts = study.context.corpora.counts
    tokens = np.array([counts[domain].tokens for domain in study.config.domains])
    epochs = best.ratios.vector(study.config.domains) * best.tokens / tokens
    training = study.config.training.model_copy(update={"max_epochs": 0.99 * float(epochs.max())})
    config = study.config.model_copy(update={"training": training})
    monkeypatch.setattr(study.context, "config", config)
    for run in decide(searched).next_runs:
        read = run.ratios.vector(study.config.domains) * run.tokens / tokens
        assert read.max() <= training.max_epochs


def test_no_next_run_is_longer_than_the_text_of_natural_allows(searched, monkeypatch):
    monkeypatch.setattr("mixopt.pipeline.gain_curve.trainable_lengths", lambda _: (1000, 2000))
    assert [run.tokens for run in decide(searched).next_runs] == [1000, 2000]


def test_each_run_is_a_step_at_what_it_cost(searched):
    before = decide(searched)
    one = pair(searched, before.candidate, 0, 0.01)
    two = pair(searched, before.candidate, FRESH, 0.01)
    after = decide(searched, [*one, *two])
    experts = before.learning[0].tokens
    # checkpoints of a run are parts of it
    assert [step.tokens for step in after.learning] == [experts, experts + 8000, experts + 16000]
    assert [step.runs for step in after.learning] == [0, 1, 2]
    assert after.learning[0] == before.learning[0]
    assert after.learning[-1].gain == after.gain
    ends = [step.gain.std_error for step in after.learning]
    assert ends == sorted(ends, reverse=True)
    for run in after.next_runs:  # natural has runs with the seeds 0 and `FRESH`
        ratios, known = (list(mixture.values()) for mixture in (run.ratios, before.candidate))
        assert run.price == (2 if ratios == pytest.approx(known) else 1) * run.tokens


def test_a_run_that_failed_costs_and_tells_nothing(searched):
    before = decide(searched)
    failed = [
        Observation(each.ratios, each.seed, each.tokens, np.full_like(each.scores, np.nan))
        for each in pair(searched, before.candidate, 0, 0.0)
    ]
    first, last = decide(searched, failed).learning
    assert (last.runs, last.gain, last.moves) == (0, first.gain, first.moves)
    assert last.tokens == first.tokens + 8000


def test_what_is_trained_after_the_last_gain_is_a_step_that_knows_no_more(searched):
    before = decide(searched)
    one, alone = pair(searched, before.candidate, 0, 0.01), pair(searched, before.candidate, 1, 0.0)
    *_, known, last = decide(searched, [*one, *alone[:2]]).learning  # natural with another seed
    assert (last.tokens - known.tokens, last.gain) == (4000, known.gain)
    (_, last) = decide(searched, alone[:2]).learning
    assert (last.tokens - before.learning[0].tokens, last.runs) == (4000, 0)


def test_many_runs_are_a_dozen_steps_with_the_last(searched):
    rng = np.random.default_rng(0)
    domains = searched[0].config.domains
    runs = []
    for seed in range(20):
        ratios = Mixture.from_vector(domains, rng.dirichlet(np.ones(len(domains))))
        runs += pair(searched, ratios, seed, 0.01, lengths=(4000,))
    steps = decide(searched, runs).learning
    assert len(steps) == 13
    assert (steps[0].runs, steps[-1].runs) == (0, 20)


def test_a_tie_is_a_part_of_a_spread_in_native_units_too(searched):
    """With scores in a unit a thousand times as large, gains are a thousandth of the number."""
    study, trials = searched
    gains = StudyGains(study.context, study.open_search(), study.open_policy(), trials)
    asked = gains.mixtures(np.vstack([gains.search_ensembles(0), np.eye(3)]), gains.tokens)
    gains.objective = replace(gains.objective, unit="raw")
    plain = choose(study.context, gains, asked, None)[2]
    assert len(plain.ties) < 5
    gains.objective = replace(gains.objective, spreads=gains.objective.spreads / 1000)
    gains._usual_spreads = gains._usual_spreads / 1000
    assert choose(study.context, gains, asked, None)[2] == plain


def test_the_chance_of_the_worst_capability_is_that_of_its_draws():
    """A capability that is known well and one that is not: their minimum is far from normal."""
    rng = np.random.default_rng(0)
    draws = np.minimum(0.6 + 0.1 * rng.standard_normal(40_000), 2 + 2 * rng.standard_normal(40_000))
    metrics = (Metric("a", capability="a"), Metric("b", capability="b"))
    objective = Objective(metrics, np.ones(2), np.ones(2), {}, worst=True)
    gain = estimate_gain(draws, objective)
    assert gain.chance == (draws > 0).mean() > 0.83
    assert gain.interval == tuple(np.percentile(draws, [2.5, 97.5]))
    normal = estimate_gain(draws, replace(objective, worst=False))
    assert type(normal) is Estimate
    assert normal.chance < 0.75


def test_checkpoints_of_one_training_are_one_run(searched):
    other = Mixture({"birds": 0.2, "ships": 0.4, "sums": 0.4})
    decision = decide(searched, pair(searched, other, 0, 0.5, lengths=(2000, 4000)))
    assert decision.runs == 1
    assert [step.runs for step in decision.learning] == [0, 1]
