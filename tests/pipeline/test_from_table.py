import numpy as np
import pandas as pd
import pytest
from example_trials import DOMAINS, make_trials

import mixopt
from mixopt.config.constraints import ProposalConfig
from mixopt.errors import MixtureError
from mixopt.mixture import as_mixture
from mixopt.optimization.optimism import measure_optimism, split_proposals
from mixopt.optimization.surrogate_decision import calibrate_gains
from mixopt.pipeline.from_table import propose_from_table, space_of


def test_caps_follow_from_tokens_repetition_and_budget():
    recipe = ProposalConfig(
        budget={"tokens": 1e12, "available_tokens": {"a": 1e10, "b": 1e11},
                "max_repetition": {"a": 2.0, "b": 4.0}},
    )  # fmt: skip
    low, high = space_of(DOMAINS, recipe).bounds()
    assert high.tolist() == [0.02, 0.4, 1.0, 1.0]
    assert low.tolist() == [0, 0, 0, 0]


def test_budgets_may_be_counted_in_any_unit():
    recipe = ProposalConfig(
        budget={"tokens": 6.5, "available_tokens": {"a": 0.9}, "max_repetition": 0.5},
    )  # fmt: skip
    _, high = space_of(DOMAINS, recipe).bounds()
    assert high.tolist() == pytest.approx([0.9 * 0.5 / 6.5, 1.0, 1.0, 1.0])


def test_natural_is_the_recipe_s_and_none_is_made_up():
    given = ProposalConfig(natural={"b": 0.5, "a": 0.5})
    assert dict(space_of(DOMAINS, given).natural) == {"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0}
    assert space_of(DOMAINS, ProposalConfig()).natural is None


def test_a_table_has_one_verdict_in_shell_and_python():
    trials = make_trials(24)
    config = ProposalConfig(surrogates="ridge_root")
    shell = propose_from_table(trials, config, seed=3)[1][0]
    surrogate = mixopt.fit(trials, surrogates="ridge_root", seed=3)
    python = mixopt.propose(surrogate, mixopt.SearchSpace(DOMAINS), seed=3)[0]
    assert shell.to_json() == python.to_json()
    assert [c.name for c in shell.comparisons] == ["best seen", "uniform"]
    assert "best seen mixture" in shell.verdict


@pytest.mark.parametrize(
    "asked", [{"maximise": "chance"}, {"no_worse": {"tolerance": 0.1}}, {"max_kl": 0.1}]
)
def test_what_needs_a_natural_mixture_asks_for_it(asked):
    config = ProposalConfig(surrogates="ridge_root", **asked)
    with pytest.raises(MixtureError, match="natural mixture.*--natural on the shell"):
        propose_from_table(make_trials(12), config)


def test_a_whole_recipe():
    recipe = ProposalConfig(
        target="worst", capabilities={}, frozen={"d": 0.1}, maximise="chance", reference="uniform",
        groups={"ab": {"upper": 0.7, "domains": ["a", "b"]}},
        budget={"tokens": 1e11, "available_tokens": {"a": 1e10}, "max_repetition": 8},
        no_worse={"than": "uniform", "tolerance": 1.0, "probability": 0.6},
    )  # fmt: skip
    surrogate, proposals = propose_from_table(make_trials(32), recipe, q=2)
    ratios = proposals[0].ratios
    assert ratios["d"] == pytest.approx(0.1)
    assert ratios["a"] + ratios["b"] <= 0.7 + 1e-9
    assert surrogate.repetition is None  # the surrogate given back is that of the runs
    assert len(proposals) == 2
    again = propose_from_table(make_trials(32), recipe, q=2)[1]
    assert [dict(p.ratios) for p in again] == [dict(p.ratios) for p in proposals]


@pytest.mark.parametrize(
    "recipe",
    [
        {"budget": {"tokens": 1e12, "available_tokens": {"aa": 1e10}}},
        {"natural": {"aa": 1.0}},
        {"lower": {"aa": 0.1}},
        {"budget": {"tokens": 1e12, "max_repetition": {"aa": 2.0}}},
    ],
)
def test_unknown_domains_are_named(recipe):
    with pytest.raises(MixtureError, match="'aa'"):
        propose_from_table(make_trials(8), ProposalConfig(**recipe))


def test_weights_of_metrics_choose():
    trials = make_trials(40)
    for name, domain in (("loss_a", "a"), ("loss_b", "b")):
        _, proposals = propose_from_table(trials, ProposalConfig(target={name: 1.0}))
        assert max(proposals[0].ratios, key=proposals[0].ratios.get) == domain
    assert np.isfinite(proposals[0].utility.mean)


def test_a_config_lets_proposals_leave_what_the_runs_cover():
    near = [t for t in make_trials(200, noise=0.0) if t.ratios["a"] < 0.3][:30]
    trials = mixopt.Trials(near, make_trials(1).metrics, DOMAINS)
    inside, outside = (
        propose_from_table(trials, ProposalConfig(target="loss_a", explore=explore), q=2)[1]
        for explore in (False, True)
    )
    assert max(p.ratios["a"] for p in inside) < 0.35
    assert max(p.ratios["a"] for p in outside) > 0.5


@pytest.mark.parametrize("reference", ["uniform", {"a": 0.9, "b": 0.1}])
def test_optimism_is_told_against_the_decision_s_reference(reference):
    """Gains over it were shrunk, so what was predicted of a proposal depends on it."""
    trials = make_trials(30, noise=0.4, seed=2)
    config = ProposalConfig(
        surrogates="ridge_root", reference=reference, natural={"c": 0.8, "d": 0.2}
    )
    ids = [trials[place].id for place in range(4)]
    notes = propose_from_table(trials, config, proposed=ids)[1][0].notes
    others, chosen = split_proposals(trials, ids, "trained")
    earlier = mixopt.fit(others, surrogates="ridge_root")
    slope = calibrate_gains(earlier).slope
    assert 0 < slope < 0.9
    given = {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25} if reference == "uniform" else reference
    unit = mixopt.fit(trials, surrogates="ridge_root").utility
    expected = measure_optimism(earlier, chosen, as_mixture(given, DOMAINS), slope, unit)
    assert notes[0] == str(expected)


@pytest.mark.parametrize("target", ["val_loss", {"val_loss": 1.0}])
def test_a_recipe_names_metrics_as_the_table_s_columns_do(target):
    trials = make_trials(24)
    frame = pd.DataFrame(trials.ratios(), columns=[f"ratio/{name}" for name in DOMAINS])
    frame["val_loss"], frame["acc"] = trials.values(trials.metrics)[:, [0, 2]].T
    table = mixopt.read_trials(runs=frame)
    assert [metric.name for metric in table.metrics] == ["loss", "acc"]

    def propose(name, target):
        recipe = ProposalConfig(
            surrogates="ridge_root", natural=dict.fromkeys(DOMAINS, 0.25), target=target,
            no_worse={"metrics": [name], "tolerance": {name: 0.1}},
            error_laws={name: {"epsilon": 0.8, "k": 2.0, "gamma": 0.7}},
        )  # fmt: skip
        return propose_from_table(table, recipe)[1][0]

    own = "loss" if isinstance(target, str) else {"loss": 1.0}
    assert propose("val_loss", target).to_json() == propose("loss", own).to_json()
