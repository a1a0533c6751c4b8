import re

import numpy as np
import pytest
import toy

from mixopt.baselines.base import OnlineTraining
from mixopt.errors import ConfigError, RunError, UserError
from mixopt.evaluation.validation_loss import count_tokens
from mixopt.executors.dispatcher import LocalDispatcher
from mixopt.pipeline.method_search import benchmark_weights, metric_weights
from mixopt.pipeline.online_runs import online_artifact, run_online

pytestmark = pytest.mark.slow


def open_toy(folder, method, **changes):
    search = {"rounds": [6], "method": method, "method_runs": 2}
    if method == "scalebio":  # two runs, and the benchmarks' text
        search["method_runs"] = 8
    return toy.load(folder, toy.write_study(folder, search=search, **changes))


def tokens_of_benchmarks(study):
    """Return what w of scalebio is trained on beside text: requests at each of its 21 steps."""
    objective = study.open_policy(with_runs=False).objective
    names = [metric.name for metric in objective.metrics]
    named = dict(zip(names, benchmark_weights(objective).tolist(), strict=True))
    tokens = round(21 * count_tokens(study.context.scorer, named))
    assert tokens > 4000
    return tokens


@pytest.mark.parametrize(("method", "runs"), [("doremi", 2), ("odm", 1), ("scalebio", 2)])
def test_a_method_that_changes_weights_recommends_in_a_study(toy_folder, method, runs):
    study = open_toy(toy_folder, method)
    trials = study.search()
    result = study._find_recommendation()
    found = result.recommendation
    beside = tokens_of_benchmarks(study) if method == "scalebio" else 0
    assert found.tokens == runs * 4000 + beside
    assert result.online_tokens == (runs if method == "scalebio" else 1) * 4000 + beside
    path = np.array(found.path)
    # 4,000 tokens in steps of 8 sequences of 32, or of 6 where each domain has as many
    steps = 21 if method == "scalebio" else 16
    assert path.shape == (steps, 3)
    assert path.sum(axis=1) == pytest.approx(np.ones(steps))
    assert path[-1].tolist() != path[0].tolist()
    (proposal,) = study.propose(trials)
    assert proposal.decision.candidate == found.ratios
    # what was trained for the recommendation is a cost of knowing it
    experts, after = proposal.decision.learning
    assert experts.tokens == 3 * 4000
    assert after.tokens - experts.tokens == pytest.approx(found.tokens, rel=0.02)  # whole steps
    assert after.gain == experts.gain
    # what was trained is found again
    again = toy.load(toy_folder)
    again.search()
    assert again.recommend() == found
    assert len(list((study.output / "artifacts" / "online").glob(f"{method}-*"))) == 1


def test_scalebio_trains_as_many_layers_as_the_study_says(toy_folder):
    search = {"rounds": [6], "method": "scalebio", "method_runs": 8, "lisa_layers": 1}
    study = toy.load(toy_folder, toy.write_study(toy_folder, search=search))
    # two models, and text of benchmarks
    assert study.recommend().tokens == 2 * 4000 + tokens_of_benchmarks(study)


def test_more_layers_than_the_base_has_are_refused_before_anything_is_trained(tmp_path):
    search = {"rounds": [6], "method": "scalebio", "method_runs": 8, "lisa_layers": 2}
    study = toy.load(tmp_path, toy.write_study(tmp_path, search=search))
    with pytest.raises(UserError, match="lisa_layers is 2 and the model has 1 layers"):
        study.search()
    assert not (study.output / "artifacts" / "base").exists()


def open_scalebio(folder, runs, **changes):
    search = {"rounds": [6], "method": "scalebio", "method_runs": runs}
    return toy.load(folder, toy.write_study(folder, search=search, **changes))


def test_text_of_benchmarks_beyond_the_budget_of_a_method_ends_before_anything_is_trained(tmp_path):
    study = open_scalebio(tmp_path, 2)
    with pytest.raises(
        ConfigError, match=r"'scalebio' needs .* the benchmarks' text, and"
    ) as refused:
        study.search()
    assert not (study.output / "artifacts" / "base").exists()
    (runs,) = re.findall(r"search.method_runs: (\d+)\)", str(refused.value))
    open_scalebio(tmp_path, int(runs)).prepare()


def test_a_budget_pays_for_the_text_of_benchmarks_too(tmp_path):
    config_alone = (3 + 2 + 2 + 1) * 4000  # experts, both models, natural and a candidate
    study = open_scalebio(tmp_path, 16, budget={"tokens": config_alone, "confirmation": 0})
    with pytest.raises(
        ConfigError, match="tokens of the benchmarks' text that it reads,"
    ) as refused:
        study.search()
    assert not (study.output / "artifacts" / "base").exists()
    (least,) = re.findall(r"one candidate need ([\d,]+);", str(refused.value))
    budget = {"tokens": int(least.replace(",", "")), "confirmation": 0}
    rows = open_scalebio(tmp_path, 16, budget=budget).plan()
    planned = {row.what: row.tokens for row in rows if row.what != "base"}
    assert planned["method scalebio, at most"] == budget["tokens"] - config_alone + 2 * 4000
    assert sum(planned.values()) == budget["tokens"]
    study = open_scalebio(tmp_path, 16, budget=budget | {"tokens": budget["tokens"] - 1})
    with pytest.raises(ConfigError, match="the benchmarks' text that it reads"):
        study.prepare()


def test_a_training_that_fails_ends_in_one_sentence(toy_folder, monkeypatch):
    study = open_toy(toy_folder, "odm")
    study.prepare()

    def fail(self, jobs):
        for job in jobs:
            yield job, RunError("the device is gone")

    monkeypatch.setattr(LocalDispatcher, "run", fail)
    training = OnlineTraining("odm", 4000, (0.5, 0.3, 0.2), {"warmup": 0.0})
    with pytest.raises(RunError, match=r"'odm' cannot recommend .* training \(.*device is gone\)"):
        run_online(study.context, training, {})


def test_a_smaller_pass_is_the_same_training_unless_it_changes_the_batch(toy_folder):
    def key(**training):
        training = toy.study_plain()["training"] | training
        path = toy.write_study(toy_folder, training=training)
        context = toy.load(toy_folder, path).context
        return online_artifact(context, OnlineTraining("odm", 4000, (), {}), {}).key

    # 13 sequences of 32 are two passes of 6 where 6 fit, and with 13 that fit one
    odd, even = {"batch_tokens": 13 * 32}, {"batch_tokens": 12 * 32}
    assert key(**even, device_batch=6) == key(**even)
    assert key(**odd, device_batch=6) == key(**odd) | {"sequences_per_step": 12}


def test_the_artifact_depends_on_what_is_trained(toy_folder):
    study = open_toy(toy_folder, "scalebio")
    weights = metric_weights(study.open_policy(with_runs=False).objective)
    names = [metric.name for metric in study.open_policy(with_runs=False).objective.metrics]
    named = dict(zip(names, weights.tolist(), strict=True))
    settings = {"rate": 0.01, "penalty": 10.0}

    def artifact(method="scalebio", tokens=4000, settings=settings, named=named, seed=0):
        training = OnlineTraining(method, tokens, (), settings, seed)
        return online_artifact(study.context, training, named)

    def key(**changes):
        return artifact(**changes).folder_name

    assert key() == key()
    others = [
        key(tokens=8000), key(settings={"rate": 0.02, "penalty": 10.0}),
        key(named={names[0]: 1.0}), key(method="doremi"), key(seed=1),
    ]  # fmt: skip
    assert len({key(), *others}) == 6
    # the first seed has no name, so that trainings of before are found
    assert "seed" not in artifact().key["training"]
    references = [artifact(method="doremi", seed=seed).key["reference"] for seed in (0, 1)]
    assert references[0] != references[1]
