from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import toy
from pages import report

import mixopt
from mixopt.callbacks.base import StudyWarning
from mixopt.config.training import BuiltBaseConfig
from mixopt.decision import Decision, LearningStep
from mixopt.estimate import Estimate
from mixopt.optimization.weight_space import WeightSpace
from mixopt.report.build import (
    UNITS,
    _describe_costs,
    _reproduction_facts,
    _summarize_rounds,
    cross_validated_scores,
    study_report_data,
    table_report_data,
)
from mixopt.surrogates.effective_tokens import Repetition
from mixopt.surrogates.rank_correlation import spearman
from mixopt.trials import Trials


def test_predictions_are_those_of_cross_validation(surrogate):
    scores = cross_validated_scores(surrogate)
    name = surrogate.metrics[0].metric.name
    assert np.array_equal(scores[name].predicted, surrogate.metrics[0].cv_predictions)
    # pictures leave out the last ones of many metrics
    assert list(scores) == ["utility", *(fitted.metric.name for fitted in surrogate.metrics)]
    utility = scores["utility"]
    assert utility.rank_correlation == spearman(utility.predicted, utility.measured) > 0.5


def test_rank_correlation_is_undefined_without_cross_validation(surrogate):
    unknown = replace(surrogate, cv_utilities=np.full(len(surrogate.trials), np.nan))
    assert np.isnan(cross_validated_scores(unknown)["utility"].rank_correlation)


def test_a_round_knows_the_candidates_up_to_it(surrogate, runs):
    first, last = _summarize_rounds(surrogate, runs, {1: (8, 0.4), 2: (24, 0.6)})
    utilities = surrogate.observed_utilities(runs)
    assert (first.number, first.n_trials, first.rank_correlation) == (1, 8, 0.4)
    assert first.best == utilities[:8].max()
    assert last.best == utilities.max()


def test_costs_name_what_training_every_candidate_would_take(runs, proposals):
    scored = as_kind([replace(run, flops=2e6) for run in runs], "ensembled", runs)
    spent = [(1000, 1e9), (500, 2e9)]
    given = SimpleNamespace(base=SimpleNamespace(kind="pretrained"))
    costs = _describe_costs(given, spent, scored, proposals[0], report().validation)
    assert costs == {
        "experts": "2; 1,500 tokens, 3.00e+09 FLOPs",
        "ensembles scored": "24; 4.80e+07 FLOPs",
        "training every candidate instead": "3 tokens, 4.00e+00 FLOPs",
    }
    assert len(_describe_costs(given, [], scored, proposals[0], None)) == 2


def test_facts_name_versions_the_commit_and_what_the_caller_adds():
    facts = _reproduction_facts(seed="3")
    assert facts["seed"] == "3"
    assert f"numpy {np.__version__}" in facts["versions"]
    assert facts["mixopt"].startswith(mixopt.__version__)
    is_checkout = (Path(mixopt.__file__).parents[1] / ".git").exists()
    assert ("commit" in facts["mixopt"]) == is_checkout


def test_a_table_s_report_has_no_proxy(surrogate, proposals, space):
    data = table_report_data("toy", surrogate, proposals, space, table="toy.csv")
    assert data.measured_by == "the surrogate"
    assert data.costs == {"runs": "24"}
    assert data.facts["table"] == "toy.csv"
    assert data.what_if.upper[0] == 0.7
    assert data.validated is None
    assert data.unit == UNITS["z"]
    raw = replace(surrogate, utility=replace(surrogate.utility, normalise="raw"))
    assert table_report_data("toy", raw, proposals, space).unit == UNITS["raw"]


def test_the_page_s_gains_count_repetition_where_the_proposals_do(surrogate, space):
    scarce = dict.fromkeys(surrogate.domains[:1], 1e9)
    repetition = Repetition.of(tuple(space.domains), scarce, budget_tokens=1e11)
    proposals = mixopt.propose(surrogate, space, seed=0, repetition=repetition)
    data = table_report_data("toy", surrogate, proposals, space, repetition=repetition)
    best = proposals[0].ratios.vector(surrogate.domains)[None]
    _, gain, _ = data.what_if.read(data.what_if.outputs[0], best)
    expected = proposals[0].comparisons[0].predicted_gain.mean
    assert gain[0] == pytest.approx(expected, abs=0.01 * abs(expected) + 1e-3)
    alone = table_report_data("toy", surrogate, proposals, space).what_if
    assert abs(alone.read(alone.outputs[0], best)[1][0] - expected) > 0.01


CONFIG = SimpleNamespace(
    name="toy",
    seed=3,
    base=BuiltBaseConfig.model_validate(toy.study_plain()["base"]),
    proxy="merged",
    search=SimpleNamespace(normalise="rank", aggregate="worst"),
)


@pytest.fixture(scope="module")
def study_data(surrogate, runs, space, proposals):
    def build(validation=None, real_runs=None, corrected=surrogate, proposals=proposals,
              expert_costs=((1, 2.0),)):  # fmt: skip
        return study_report_data(
            CONFIG, as_kind(runs, "merged", runs), proposals, validation,
            surrogate=corrected, proxy_surrogate=surrogate, weights=WeightSpace.of_domains(space),
            check="merged", real_runs=real_runs, round_ranks={1: (24, 0.5)},
            domains=(), expert_scores={}, expert_costs=expert_costs, warnings=[StudyWarning("a")],
            device="cpu, float32", elapsed_s=1234.0,
        )  # fmt: skip

    return build


def as_kind(rows, kind, table):
    return Trials([replace(run, kind=kind) for run in rows], table.metrics, table.domains)


def test_a_study_s_report_says_how_it_was_measured(study_data, runs):
    data = study_data()
    assert data.measured_by == "the merged proxy"
    assert (data.unit, data.aggregate) == ("percentile ranks among the trials", "worst capability")
    assert (data.facts["base"], data.facts["device"]) == ("build", "cpu, float32")
    assert data.facts["time"].startswith("1,234 s")
    assert data.rounds[0].n_trials == len(runs)
    assert data.warnings == (StudyWarning("a"),)
    assert data.metrics == runs.metrics


@pytest.mark.parametrize(
    ("kinds", "learned"),
    [
        (("ensembled",), "ensembles"),
        (("ensembled", "merged"), "merges"),
        (("ensembled", "trained"), "runs"),
    ],
)
def test_a_study_s_report_names_what_the_surrogate_learned_from(
    kinds, learned, study_data, surrogate, runs
):
    rows = [replace(run, kind=kinds[place % len(kinds)]) for place, run in enumerate(runs)]
    fitted = replace(surrogate, trials=Trials(rows, runs.metrics, runs.domains))
    assert study_data(corrected=fitted).learned_from == learned


def test_costs_name_the_base_and_what_a_budget_trained(study_data, runs, proposals):
    costs = study_data().costs
    base = toy.study_plain()["base"]["training"]["tokens"]
    assert costs["base"] == f"{base:,} tokens"
    assert costs["experts"] == "1; 1 tokens, 2.00e+00 FLOPs"
    assert costs["merges scored"].startswith(f"{len(runs)}; ")
    assert not costs.keys() & {"trained runs", "ensembles scored"}
    gain = Estimate(0.1, 0.2)
    decision = Decision(
        True, proposals[0].ratios, runs[0].ratios, gain, 9, 2,
        learning=(LearningStep(1, 0, gain, False), LearningStep(5, 2, gain, True)),
    )  # fmt: skip
    spent = [replace(proposals[0], decision=decision), *proposals[1:]]
    # two FLOPs a token, as the expert took
    assert study_data(proposals=spent).costs["trained runs"] == "4 tokens, 8.00e+00 FLOPs"
    # of experts that were trained elsewhere no FLOPs are known
    given = study_data(proposals=spent, expert_costs=[(0, 0.0)]).costs
    assert given["trained runs"] == "4 tokens"
    # experts are trained for whole steps, which are no run
    alone = replace(decision, learning=(LearningStep(3, 0, gain, False),))
    rounded = study_data(proposals=[replace(proposals[0], decision=alone)]).costs
    assert "trained runs" not in rounded


def test_the_validated_mixture_is_that_of_the_real_run_of_the_proposal(study_data, runs, proposals):
    validation = report().validation
    earlier = Trials(
        [replace(runs[0], id="natural"), replace(runs[1], id="proposal")],
        runs.metrics,
        runs.domains,
    )
    data = study_data(validation, earlier)
    assert data.validated == runs[1].ratios
    assert data.validated_an_earlier_proposal
    same = [replace(runs[1], id="proposal", ratios=proposals[0].ratios)]
    data = study_data(validation, Trials(same, runs.metrics, runs.domains))
    assert not data.validated_an_earlier_proposal


def test_without_cross_validation_the_proxies_surrogate_is_shown(study_data, surrogate):
    unknown = replace(surrogate, cv_utilities=np.full(len(surrogate.trials), np.nan))
    data = study_data(corrected=unknown)
    assert np.isfinite(data.predictions["utility"].predicted).any()
