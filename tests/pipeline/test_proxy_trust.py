from dataclasses import replace

import numpy as np
import pytest
import toy
from runs_on_simplex import METRICS, table

from mixopt.config.loader import load_study
from mixopt.optimization.reliability import Reliability
from mixopt.optimization.validation import Cost, RankFidelity, Validation
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.trials import Trials


@pytest.fixture
def recipe(tmp_path):
    return load_study(toy.write_study(tmp_path))


def validation(n=12, **lows):
    rows = tuple(
        RankFidelity("overall", kind, 0.5, (low, 0.9), 0.9, 0.1, 0.5, 2, n)
        for kind, low in lows.items()
    )
    return Validation(rows, ("a",), (0.0,), 0.0, {}, (), 2, Cost(1, 1.0, 1, 1.0))


def learner(recipe, **trust):
    found = {name: Reliability(name, 50, tau, tau, 0.2, 400) for name, tau in trust.items()}
    return SurrogatePolicy(recipe, lambda _: found)


BOTH = table(20, "merged", noise=0.05) + table(20, "ensembled", noise=0.05, seed=3)


def test_a_table_is_fitted_once_and_again_with_real_runs(recipe):
    own = learner(recipe)
    first = own.fit(BOTH)
    assert own.fit(BOTH) is first
    assert {trial.kind for trial in first.trials} == {"merged"}
    corrected = own.with_runs(validation(merged=0.3, ensembled=0.3), table(8, "trained", seed=9))
    again = corrected.fit(BOTH)
    assert again is not first
    assert {trial.kind for trial in again.trials} == {"trained"}  # predictions are about these
    assert [fidelity.level for fidelity in again.fidelities] == ["merged", "trained"]
    assert corrected.doubt is None
    assert own.fit(BOTH) is first  # the search goes on without the real runs


def test_noise_weighs_less(recipe):
    plain = learner(recipe, loss=0.8, acc=0.8).fit(BOTH).utility
    doubted = learner(recipe, loss=0.8, acc=0.0).fit(BOTH).utility
    assert 0 < doubted.coefficients[1] < 0.05 * plain.coefficients[1]


@pytest.mark.parametrize(
    ("lows", "runs", "kinds", "words"),
    [
        ({"merged": -0.1, "ensembled": 0.3}, 8, ["ensembled", "trained"], "replaces it"),
        ({"merged": -0.1, "ensembled": -0.2}, 8, ["trained"], "uses real runs alone"),
        (
            {"merged": -0.1, "ensembled": -0.2},
            4,
            ["merged", "trained"],
            "treat the proposal as a guess",
        ),
    ],
)
def test_a_proxy_that_has_not_earned_trust_is_left(recipe, lows, runs, kinds, words):
    own = learner(recipe).with_runs(validation(**lows), table(runs, "trained", seed=9))
    surrogate = own.fit(BOTH)
    assert [fidelity.level for fidelity in surrogate.fidelities] == kinds
    assert words in own.doubt
    assert own.proxy == ("ensembled" if kinds[0] == "ensembled" else "merged")


def test_few_mixtures_condemn_no_proxy_that_ranks(recipe):
    own = learner(recipe).with_runs(
        validation(n=6, merged=-0.1, ensembled=0.3), table(6, "trained", seed=9)
    )
    assert own.proxy == "merged"
    assert "6 trained mixtures are too few to tell" in own.doubt
    assert [fidelity.level for fidelity in own.fit(BOTH).fidelities] == ["merged", "trained"]


def test_levels_are_ordered_by_what_they_stand_for_whatever_they_cost(recipe):
    dear = Trials([replace(t, flops=1e9) for t in BOTH], BOTH.metrics, BOTH.domains)
    own = learner(recipe).with_runs(
        validation(merged=0.3, ensembled=0.3), table(8, "trained", seed=9)
    )
    assert [fidelity.level for fidelity in own.fit(dear).fidelities] == ["merged", "trained"]


def test_noise_alone_in_its_capability_ends_no_study(recipe):
    own = learner(recipe, loss=0.8, acc=-0.3)
    assert own.fit(BOTH).utility.coefficients[1] == pytest.approx(0, abs=0.1)
    assert np.isfinite(own.aggregates(BOTH)["worst"].of(BOTH.values(METRICS))).all()
    all_noise = learner(recipe, loss=-0.3, acc=-0.3)
    assert np.isfinite(all_noise.fit(BOTH).utility.coefficients).all()
    assert np.isfinite(all_noise.aggregates(BOTH)["worst"].of(BOTH.values(METRICS))).all()


def test_aggregates_are_three_and_in_the_proxys_scale(recipe):
    own = learner(recipe)
    found = own.aggregates(BOTH)
    assert list(found) == ["mean", "weighted", "worst"]
    values = BOTH.where(kind="merged").values(METRICS)
    assert found["mean"].of(values).mean() == pytest.approx(0, abs=1e-9)
    assert np.all(found["worst"].of(values) <= found["mean"].of(values) + 1e-9)


def test_the_worst_capability_may_be_what_is_learnt(recipe):
    search = recipe.search.model_copy(update={"aggregate": "worst", "normalise": "rank"})
    surrogate = learner(recipe.model_copy(update={"search": search})).fit(BOTH)
    assert set(surrogate.utility.parts) == {"x", "y"}


def test_candidates_alone_are_merges_without_runs(recipe):
    own = learner(recipe).with_runs(
        validation(merged=-0.1, ensembled=0.3), table(8, "trained", seed=9)
    )
    assert {trial.kind for trial in own.fit(BOTH).trials} == {"trained"}
    surrogate = own.fit_candidates(BOTH)
    assert {trial.kind for trial in surrogate.trials} == {"merged"}
    assert [fidelity.level for fidelity in surrogate.fidelities] == ["merged"]
