import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import toy
import yaml
from models_for_tests import model, perturbed, save_base

from mixopt import Mixture
from mixopt.baselines.d_optimal import DOptimal
from mixopt.baselines.merge_to_mix import MergeToMix
from mixopt.baselines.registry import METHODS
from mixopt.config.loader import load_study
from mixopt.config.search import MOST_RUNS, PUBLISHED, TRAINS_NOTHING
from mixopt.errors import ConfigError, DataError, DivergedError, RunError, UserError
from mixopt.executors.dispatcher import LocalDispatcher
from mixopt.optimization.objective import Objective
from mixopt.pipeline import method_problem, method_search
from mixopt.pipeline.method_search import (
    benchmark_weights,
    metric_weights,
    run_method,
)
from mixopt.pipeline.objective import require_objective
from mixopt.proposal import Proposal
from mixopt.trial import Metric

pytestmark = pytest.mark.slow


LONG = {"tokens": 100_000, "max_repetition": 9}


def open_toy(folder, method, **changes):
    search = {"rounds": [6], "method": method, "method_runs": 3} | changes.pop("search", {})
    return toy.load(folder, toy.write_study(folder, search=search, **changes))


def test_the_config_knows_every_method():
    assert set(PUBLISHED) == set(METHODS)
    nothing = {n for n in METHODS if METHODS[n]().least_tokens(4, 7, 100) == 7}
    assert set(TRAINS_NOTHING) == nothing - {"mde-law"}
    online = {n: METHODS[n]() for n in METHODS if METHODS[n]().need == "online"}
    most = {n: method.least_tokens(4, 7, 1) for n, method in online.items()}
    assert most | {"d-optimal": DOptimal().runs} == MOST_RUNS


def test_a_method_that_merges_is_judged_like_any_candidate(toy_folder):
    study = open_toy(toy_folder, "points")
    proposal = study.run()
    found = json.loads((study.output / "recommendation.json").read_text())
    recommended = Mixture(found["ratios"])
    assert proposal.decision.candidate == recommended
    assert proposal.ratios in (recommended, proposal.decision.kept)
    assert any(note.startswith("Method points recommends") for note in proposal.notes)
    assert found["tokens"] == 3 * 4000
    assert set(found["predicted"]) == {m.name for m in study.open_policy().objective.metrics}
    assert (study.output / "report.html").is_file()
    assert (study.output / "exports" / "mixture.yaml").is_file()
    assert [row.state for row in study.status() if row.what == "method points"] == ["done"]


def test_runs_of_a_method_are_observations_and_a_stopped_study_goes_on(toy_folder, monkeypatch):
    monkeypatch.setitem(METHODS, "d-optimal", lambda: DOptimal(pool=64))
    study = open_toy(toy_folder, "d-optimal")
    done, run = [], LocalDispatcher.run

    def stop_after_two(self, jobs):
        for job, error in run(self, jobs):
            if job.verb == "train_run":
                done.append(job.name)
            yield job, error
            if len(done) == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(LocalDispatcher, "run", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            study.search()
    again = toy.load(toy_folder)
    trials = again.search()
    result = again._find_recommendation()
    runs = list((again.output / "artifacts" / "runs").glob("mix-*"))
    assert len(runs) == len(result.observations) == 3
    natural = again.context.corpora.natural.vector(again.config.domains)
    assert result.observations[0].ratios == pytest.approx(natural)
    assert result.recommendation.tokens == 3 * 4000
    (proposal,) = again.propose(trials)
    assert proposal.decision.runs == 2  # natural is what they are compared with
    # a third process reads what was found
    assert toy.load(toy_folder).recommend() == result.recommendation


def test_projektor_scores_runs_at_two_lengths_and_predicts_the_target(toy_folder):
    study = open_toy(toy_folder, "projektor", search={"method_runs": 4})
    study.recommend()
    result = study._find_recommendation()
    assert result.recommendation.tokens == 4 * 4000
    assert len(result.observations) == 4
    names = {m.name for m in study.open_policy().objective.metrics}
    assert set(result.recommendation.predicted) == names
    scored = list((study.output / "artifacts" / "logprobs").glob("*"))
    assert len(list((study.output / "artifacts" / "runs").glob("mix-*"))) == 4
    assert len(scored) >= 8
    # a third process reads what was found
    assert toy.load(toy_folder).recommend() == result.recommendation
    training = toy.study_plain()["training"] | {"schedule": "linear"}
    with pytest.raises(
        ConfigError, match="half-way checkpoint is not a finished run; set it to const"
    ):
        open_toy(toy_folder / "other", "projektor", training=training)


def test_a_budget_confirms_what_a_method_recommends(toy_folder, monkeypatch):
    monkeypatch.setitem(METHODS, "d-optimal", lambda: DOptimal(pool=64))
    study = open_toy(toy_folder, "d-optimal", budget={"runs": 9, "longest": 1, "confirmation": 0})
    study.run()
    read = Proposal.read(study.output / "proposal.json")
    assert read.decision.candidate == study.recommend().ratios
    bought = pd.read_csv(study.output / "runs.csv").groupby(["seed", "ratio/birds"]).size()
    # 3 experts and 3 runs of the method are paid before: natural's second seed, and the candidate
    assert 2 <= len(bought) <= 3


def test_a_validation_keeps_what_a_method_recommends_and_its_runs(toy_folder, monkeypatch):
    monkeypatch.setitem(METHODS, "d-optimal", lambda: DOptimal(pool=64))
    study = open_toy(toy_folder, "d-optimal", validation={"mixtures": 4, "seeds": 1})
    proposals, _ = study.answer(study.search())
    assert proposals[0].decision.candidate == study.recommend().ratios
    assert proposals[0].decision.runs == 2 + 3  # of the method and of the validation, but natural
    states = {row.what: row.state for row in study.status()}
    assert states["proposal"] == "done"


def test_a_budget_below_the_least_ends_before_anything_is_trained(tmp_path):
    study = open_toy(tmp_path, "olmix")
    with pytest.raises(ConfigError, match="'olmix' needs 16,000 tokens .* for 3 domains"):
        study.search()
    assert not (study.output / "artifacts" / "base").exists()


def lose(monkeypatch, verb, times=1):
    """Let the first jobs of a kind fail as where a worker was lost."""
    lost, run = [], LocalDispatcher.run

    def losing(self, jobs):
        for job in jobs:
            if job.verb == verb and len(lost) < times:
                lost.append(job)
                yield job, RunError("the worker is gone")
            else:
                yield from run(self, [job])

    monkeypatch.setattr(LocalDispatcher, "run", losing)
    return lost


@pytest.mark.parametrize(
    ("method", "verb"), [("d-optimal", "train_run"), ("merge-to-mix", "score")]
)
def test_what_may_succeed_another_time_is_tried_again(toy_folder, monkeypatch, method, verb):
    monkeypatch.setitem(METHODS, "d-optimal", lambda: DOptimal(pool=64))
    study = open_toy(toy_folder, method, search={"method_runs": 4})
    study.prepare()
    study.open_policy(with_runs=False)  # trains what does not belong to the method
    with monkeypatch.context() as broken:
        lost = lose(broken, verb)
        first = study._find_recommendation()
        assert lost
    assert first.recommendation.ratios
    kept = study.output / "artifacts" / "recommendations"
    assert not list(kept.glob(f"{method}-*"))
    assert any(f"Method '{method}' recommends without" in text for text in study.callbacks.warnings)
    (row,) = [row for row in study.status() if row.what == f"method {method}"]
    assert row.state == "failed"
    assert "1 failed" in row.why
    again = toy.load(toy_folder)
    whole = again._find_recommendation()
    assert not any(each.failed for each in whole.observations)
    assert len(list(kept.glob(f"{method}-*"))) == 1


def test_a_divergence_is_kept(toy_folder, monkeypatch):
    monkeypatch.setitem(METHODS, "d-optimal", lambda: DOptimal(pool=64))
    study = open_toy(toy_folder, "d-optimal", search={"method_runs": 4})
    run = method_problem.train_runs

    def diverge(context, specs):
        for number, (spec, scored) in enumerate(run(context, specs)):
            yield spec, DivergedError("the loss is not finite") if number == 3 else scored

    monkeypatch.setattr(method_problem, "train_runs", diverge)
    found = study._find_recommendation()
    assert [each.failed for each in found.observations] == [False, False, False, True]
    assert found.recommendation.tokens == 4 * 4000
    assert len(list((study.output / "artifacts" / "recommendations").glob("d-optimal-*"))) == 1


@pytest.mark.parametrize("method", ["doremi", "scalebio"])
def test_too_little_text_for_a_share_of_each_domain_ends_before_anything_is_trained(
    tmp_path, method
):
    training = toy.study_plain()["training"] | {
        "tokens": 60_000, "expert_tokens": 4000, "max_epochs": 1,
    }  # fmt: skip
    study = open_toy(tmp_path, method, training=training, target=LONG, search={"method_runs": 8})
    with pytest.raises(
        DataError, match=f"so the 60,000 tokens of a training of {method}, which reads"
    ):
        study.search()
    assert not (study.output / "artifacts" / "base").exists()


def test_a_reference_of_doremi_needs_text_too(tmp_path):
    training = toy.study_plain()["training"] | {
        "tokens": 40_000, "expert_tokens": 4000, "max_epochs": 1,
    }  # fmt: skip
    natural = {"birds": 0.1, "ships": 0.1, "sums": 0.8}
    study = open_toy(
        tmp_path, "doremi", training=training, target=LONG, search={"natural": natural}
    )
    with pytest.raises(
        DataError, match="the reference of doremi, a run on natural, would read them"
    ):
        study.search()
    assert not (study.output / "artifacts" / "base").exists()


def test_one_step_has_no_half_for_projektor(tmp_path):
    training = toy.study_plain()["training"] | {"tokens": 256, "average_checkpoints": 1}
    study = open_toy(tmp_path, "projektor", training=training, search={"method_runs": 4})
    with pytest.raises(ConfigError, match="training.tokens: 256 is 1 step and half of it too"):
        study.search()
    assert not (study.output / "artifacts" / "base").exists()


def test_a_study_without_a_method_has_no_recommendation(toy_folder):
    study = open_toy(toy_folder, "points")
    study.recommend()
    file = study.output / "recommendation.json"
    assert file.is_file()
    own = toy.load(
        toy_folder, toy.write_study(toy_folder, search={"rounds": [6], "method": "auto"})
    )
    own.propose(own.search())
    assert not file.exists()


def test_a_smaller_repetition_of_an_expert_recommends_anew(toy_folder):
    study = open_toy(toy_folder, "points")
    name, ratio = max(study.recommend().ratios.items(), key=lambda pair: pair[1])
    reads = ratio * study.config.target.tokens / study.context.corpora.available_tokens[name]
    file = toy_folder / "experts" / f"{name}.yaml"
    file.write_text(file.read_text() + f"max_repetition: {reads / 2}\n")
    again = toy.load(toy_folder).recommend()
    assert again.ratios[name] == pytest.approx(ratio / 2)


def test_too_many_experts_for_every_subset_end_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "merge-to-mix", lambda: MergeToMix(most_subsets=6))
    study = open_toy(tmp_path, "merge-to-mix")
    with pytest.raises(UserError, match="every subset of the 3 experts, 7 merges, and at most 6"):
        study.search()
    assert not (study.output / "artifacts" / "base").exists()


def test_experts_without_text_are_merged(tmp_path):
    base = {"kind": "pretrained", "path": str(save_base(tmp_path / "base")), "context": 32}
    natural = {"birds": 0.5, "ships": 0.3, "sums": 0.2}
    search = {"rounds": [6], "method": "points", "natural": natural}
    path = toy.write_study(tmp_path, base=base, search=search)
    for seed, name in enumerate(natural, start=1):
        trained = model()
        trained.load_state_dict(perturbed(trained, seed), strict=False)
        trained.save_pretrained(tmp_path / "trained" / name)
        expert = {"domain": name, "checkpoint": str(tmp_path / "trained" / name)}
        (tmp_path / "experts" / f"{name}.yaml").write_text(yaml.safe_dump(expert))
    found = toy.load(tmp_path, path).recommend()
    assert set(found.ratios) == set(natural)


def test_other_text_recommends_anew_also_with_given_experts(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "d-optimal", lambda: DOptimal(pool=64))
    base = {"kind": "pretrained", "path": str(save_base(tmp_path / "base")), "context": 32}
    path = toy.write_study(
        tmp_path, base=base, search={"rounds": [6], "method": "d-optimal", "method_runs": 3}
    )
    read = shutil.copy(tmp_path / "data" / "birds.jsonl", tmp_path / "data" / "read.jsonl")
    for seed, name in enumerate(toy.SENTENCES, start=1):
        trained = model()
        trained.load_state_dict(perturbed(trained, seed), strict=False)
        trained.save_pretrained(tmp_path / "trained" / name)
        file = tmp_path / "experts" / f"{name}.yaml"
        given = {"checkpoint": str(tmp_path / "trained" / name), "available_tokens": 50_000}
        plain = yaml.safe_load(file.read_text()) | given
        if name == "birds":  # its benchmark has a file of its own
            plain["text"]["paths"] = ["../data/read.jsonl"]
        file.write_text(yaml.safe_dump(plain))
    first = toy.load(tmp_path, path)
    first.recommend()
    read.write_text(read.read_text().replace("bird", "owls"))
    again = toy.load(tmp_path)
    again.recommend()
    kept = again.output / "artifacts" / "recommendations"
    assert len(list(kept.glob("d-optimal-*"))) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"search": {"aggregate": "worst"}},
            "olmix minimizes a mean, and search.aggregate is worst",
        ),
        ({"search": {"slopes": True}}, "slopes goes with method: mergemix"),
        # natural is among the runs of the method
        ({"budget": {"runs": 7}}, "3 experts, 3 runs of olmix, natural with one more seed"),
    ],
)
def test_settings_that_do_not_go_with_a_method(tmp_path, changes, words):
    search = {"rounds": [6], "method": "olmix", "method_runs": 3} | changes.pop("search", {})
    with pytest.raises(ConfigError, match=words):
        load_study(toy.write_study(tmp_path, search=search, **changes))


def test_weights_are_of_native_losses(toy_folder):
    study = open_toy(toy_folder, "points")
    objective = study.open_policy(with_runs=False).objective
    weights = metric_weights(objective)
    assert weights.sum() == pytest.approx(1)
    expected = objective.combinations()[0] / objective.spreads
    assert weights / weights[0] == pytest.approx(expected / expected[0])
    found = run_method(study.context, study.open_search(), objective)
    assert np.isfinite(list(found.recommendation.predicted.values())).all()


@pytest.mark.parametrize("unit", ["z", "raw"])
def test_text_is_weighed_without_the_units_of_scores(unit):
    """An accuracy with a spread of .1 and bits per byte with .01 have the same say in a text."""
    better = "lower" if unit == "raw" else "higher"
    metrics = (Metric("accuracy", better, capability="a"), Metric("bits", "lower", capability="b"))
    objective = Objective(
        metrics, np.array([0.1, 0.01]), np.ones(2), {"b": 3.0}, unit=unit, growth=2
    )
    assert benchmark_weights(objective) == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("method", ["projektor", "scalebio"])
def test_what_reads_text_gets_the_weights_without_units(toy_folder, monkeypatch, method):
    asked = []

    class AskedError(Exception):
        pass

    def spy(context, *rest, **named):
        asked.append(next(each for each in reversed(rest) if isinstance(each, dict)))
        raise AskedError

    monkeypatch.setattr(method_search, "collect_samples", spy)
    monkeypatch.setattr(method_problem, "run_online", spy)
    study = open_toy(toy_folder, method, search={"method_runs": 8})
    objective = study.open_policy(with_runs=False).objective
    with pytest.raises(AskedError):
        run_method(study.context, study.open_search(), objective)
    assert list(asked[0].values()) == pytest.approx(benchmark_weights(objective))


def test_without_losses_that_ensembles_score_there_is_no_method():
    with pytest.raises(
        ConfigError, match="no benchmark that chooses is one; choose by bits_per_byte"
    ):
        require_objective(SimpleNamespace(objective=None))


def test_plan_and_status_name_the_method(toy_folder):
    study = open_toy(toy_folder, "d-optimal")
    planned = {group.what: group.tokens for group in study.plan()}
    assert planned["method d-optimal, at most"] == 3 * 4000
    study.search()
    shutil.rmtree(study.output / "artifacts" / "recommendations")
    left = {row.what: row.why for row in study.status() if row.state == "left"}
    assert left["method d-optimal"] == left["proposal"] == ""  # it needs nothing but itself
