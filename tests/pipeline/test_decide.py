import numpy as np
import pytest
import toy

from mixopt import Mixture
from mixopt.pipeline.decide import decide_study
from mixopt.proposal import Proposal
from mixopt.trial import Score, Trial
from mixopt.trials import Trials

NATURAL = {"birds": 0.8, "ships": 0.1, "sums": 0.1}
SEARCH = {"rounds": [6], "natural": NATURAL}


def open_toy(folder, **changes):
    return toy.load(folder, toy.write_study(folder, **{"search": SEARCH} | changes))


@pytest.fixture(scope="module")
def searched(tmp_path_factory, trained_toy):
    """A study whose natural mixture starves two domains of three, and its trials."""
    folder = tmp_path_factory.mktemp("decide")
    toy.copy_trained(trained_toy, folder)
    study = open_toy(folder)
    return study, study.search()


def decide(study, trials, by_seed=()):
    policy = study.open_policy()
    policy.by_seed = tuple(by_seed)
    proposals = [Proposal(Mixture.uniform(study.config.domains), None, {})]
    return decide_study(study.context, study.open_search(), policy, trials, proposals)


def real_runs(study, trials, gains, seeds=2):
    """Runs of natural and of the candidates, each benchmark better by a gain in its own units."""
    rng, tables = np.random.default_rng(0), []
    mixtures = {"natural": Mixture(NATURAL)} | gains
    for seed in range(seeds):
        rows = []
        for name, entry in mixtures.items():
            mixture, gain = entry if isinstance(entry, tuple) else (entry, 0.0)
            scores = {
                m.name: Score(2.0 - gain + 0.001 * rng.standard_normal()) for m in trials.metrics
            }
            rows.append(Trial(name, mixture, scores, kind="trained", seed=seed, tokens=4000))
        tables.append(Trials(rows, trials.metrics, trials.domains))
    return tables


def test_without_runs_the_interval_is_wide_and_the_tokens_are_within_reach(searched):
    study, trials = searched
    decision = decide(study, trials)
    low, high = decision.gain.interval
    assert high - low > 0.2 * abs(decision.gain.mean)
    assert decision.runs == 0
    assert decision.noise.differences == 0
    assert set(decision.resampled) == set(NATURAL)
    assert all(0 <= low < high <= 1 for low, high in decision.resampled.values())
    assert decision.tokens == min(study.config.target.tokens, 8 * study.config.training.tokens)
    assert set(decision.capabilities) == {"birds", "ships", "sums"}
    assert decision.ratios == (decision.candidate if decision.moves else decision.kept)


def test_runs_that_are_better_narrow_the_gain_and_move(searched):
    study, trials = searched
    before = decide(study, trials)
    runs = real_runs(study, trials, {"proposal": (before.candidate, 1.0)})
    after = decide(study, trials, runs)
    assert after.runs == 2
    assert after.noise.differences == 1
    # the two seeds differ by a thousandth, and are shrunk towards what is usual
    assert 0 < after.noise.std < before.noise.std
    assert after.moves
    assert after.advice == ""
    assert after.gain.chance > 0.9


def test_runs_that_are_worse_everywhere_keep_natural(searched):
    study, trials = searched
    merged = trials.where(kind="merged")
    bad = {f"m{i}": (trial.ratios, -1.0) for i, trial in enumerate(merged)}
    before = decide(study, trials)
    bad["proposal"] = before.candidate, -1.0
    bad["uniform"] = Mixture.uniform(study.config.domains), -1.0
    decision = decide(study, trials, real_runs(study, trials, bad))
    assert not decision.moves
    assert decision.ratios == Mixture(NATURAL)
    assert decision.advice == "A gain of at most 0.02 sd of a benchmark counts as none."
    assert "stay with the natural mixture" in decision.verdict


def test_natural_that_the_bounds_forbid_is_replaced_by_the_nearest_mixture(tmp_path, trained_toy):
    toy.copy_trained(trained_toy, tmp_path)
    study = open_toy(tmp_path, search=SEARCH | {"upper": {"birds": 0.5}})
    decision = decide(study, study.search())
    assert decision.kept["birds"] == pytest.approx(0.5, abs=1e-6)
    assert decision.candidate["birds"] <= 0.5 + 1e-6
    assert decision.reference == "nearest allowed"


def test_a_limit_that_costs_something_is_no_reason_to_stay(tmp_path, trained_toy):
    """The best allowed mixture is worse than natural, and better than the nearest allowed one."""
    toy.copy_trained(trained_toy, tmp_path)
    study = open_toy(tmp_path, search=SEARCH | {"upper": {"birds": 0.5}})
    trials = study.search()
    kept = decide(study, trials).kept
    better = Mixture({"birds": 0.2, "ships": 0.4, "sums": 0.4})
    runs = real_runs(study, trials, {"kept": (kept, -1.0), "better": (better, -0.3)})
    decision = decide(study, trials, runs)
    assert decision.moves
    assert decision.gain.mean > 0
    assert all(gain.mean > 0 for gain in decision.capabilities.values())
    assert "likely to be better than the nearest allowed mixture" in decision.verdict
    # noise and the choice of items are over nothing
    gains = [sentence for sentence in decision.checks if ": gain " in sentence]
    assert gains
    assert all(sentence.startswith("over the natural mixture: ") for sentence in gains)
    assert len(decision.checks) == len(gains) + 2


def test_the_decision_is_the_one_statement_of_a_proposal(searched):
    study, trials = searched
    (proposal,) = study.propose(trials)
    assert proposal.decision is not None
    assert proposal.verdict == proposal.decision.verdict
    assert proposal.interval == proposal.decision.gain.interval
    assert proposal.ratios == proposal.decision.ratios
    again = Proposal.read(study.output / "proposal.json")
    assert again.decision == proposal.decision
