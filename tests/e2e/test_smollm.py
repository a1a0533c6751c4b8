"""The experiment on a pretrained model: its recipes, and what it tells of ranks, on the toy study."""

import sys
from pathlib import Path

import numpy as np
import pytest
import toy
import yaml

from mixopt.config.loader import load_study
from mixopt.pipeline.ensemble_scores import ensemble_scores
from mixopt.pipeline.gains import metrics_that_choose

sys.path.append(str(Path(__file__).parents[2] / "studies" / "smollm"))
ranks = pytest.importorskip("ranks")
smollm = pytest.importorskip("smollm")

NATURAL = {"birds": 0.6, "ships": 0.3, "sums": 0.1}


def test_gains_are_those_of_the_study_that_trained_them(trained_toy, tmp_path):
    training = toy.study_plain()["training"] | {
        "expert_tokens": 4000,
        "tokens": 4000,
        "max_epochs": 99,
    }
    search = {"method": "ensemble", "rounds": [6], "natural": NATURAL,
              "capability_weights": {"birds": 0.3, "ships": 0.7, "sums": 0.0}}  # fmt: skip
    toy.write_study(
        tmp_path,
        training=training,
        search=search,
        budget={"runs": 6, "longest": 1, "confirmation": 0},
    )
    study = toy.load(toy.copy_trained(trained_toy, tmp_path))
    bought = study.spend(trials=study.search())

    found = ranks.read_evidence(
        study.output, ranks.read_world(study.output, cache=tmp_path / "cache")
    )
    opened = study.open_search()
    metrics = metrics_that_choose(opened)
    natural = np.array([*NATURAL.values()])
    whole = [each for each in bought if each.tokens == max(one.tokens for one in bought)]
    scores = {(each.seed, *each.ratios.round(9)): each.scores for each in whole}
    others = {key: scored for key, scored in scores.items() if key[1:] != (*natural,)}
    assert found.names == [metric.name for metric in metrics]
    assert len(others) == len(found.real) > 0
    for ratios, real, said in zip(found.ratios, found.real, found.said, strict=True):
        (key,) = [key for key in others if np.allclose(key[1:], ratios)]
        assert real == pytest.approx(scores[key[0], *natural] - others[key])
        both = ensemble_scores(opened, metrics, np.stack([natural, ratios]))
        assert said == pytest.approx(both[0] - both[1])
    assert found.difference == pytest.approx(np.abs(scores[0, *natural] - scores[1, *natural]))
    assert found.length == 1


def test_ranks_count_natural_and_only_what_is_kept():
    said = np.array([[1.0, 3.0], [2.0, -1.0], [3.0, 2.0]])
    everything = np.ones((3, 2), dtype=bool)
    perfect = ranks.measure(2 * said, said, everything)
    assert perfect == pytest.approx({"by benchmark": 1, "all pairs": 1, "signs": 1, "scale": 2})
    opposite = ranks.measure(-said, said, everything)
    assert [opposite[name] for name in ("by benchmark", "signs", "scale")] == [-1, 0, -1]
    wrong = said.copy()
    wrong[0, 0] = -9.0
    kept = everything.copy()
    kept[0, 0] = False
    assert ranks.measure(wrong, said, kept)["signs"] == 1
    assert ranks.measure(wrong, said, everything)["signs"] == pytest.approx(5 / 6)


def test_a_perfect_ranking_of_three_mixtures_is_one_of_twenty_four_orders():
    said = np.array([[1.0], [2.0], [3.0]])
    everything = np.ones((3, 1), dtype=bool)
    assert ranks.chances(said, said, everything)["by benchmark"] == pytest.approx(1 / 24, abs=0.015)
    low, high = ranks.intervals(said, said, everything)["scale"]
    assert low == high == pytest.approx(1)


def write_recipes(folder, monkeypatch, *more):
    asked = ["smollm.py", "--gguf", str(folder / "model.gguf"), "--out", str(folder), *more]
    monkeypatch.setattr(sys, "argv", asked)
    smollm.main()
    return {name: load_study(folder / f"{name}.yaml") for name in smollm.UTILITIES}


def test_the_harness_has_a_task_on_a_local_file_only_where_it_is_asked_for(tmp_path, monkeypatch):
    plain = write_recipes(tmp_path, monkeypatch)["code"]
    assert not (tmp_path / "harness").exists()
    own = write_recipes(tmp_path, monkeypatch, "--harness", "--items", "3")["code"]
    added = own.benchmarks[-1]
    assert [each.name for each in own.benchmarks[:-1]] == [each.name for each in plain.benchmarks]
    assert (added.kind, added.role, added.max_items) == ("harness", "holdout", 3)
    (written,) = Path(added.include_path).glob("*.yaml")
    told = yaml.safe_load(written.read_text())
    assert told["task"] == added.task
    assert Path(told["dataset_kwargs"]["data_files"]["test"]).name == "copa.jsonl"


@pytest.mark.filterwarnings("ignore")
def test_the_task_of_the_harness_agrees_with_our_own_copa(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval", reason="mixopt[eval] is not installed")
    from models_for_tests import model, tokenizer

    from mixopt.evaluation.scorer import Scorer
    from mixopt.evaluation.tasks.base import TaskContext
    from mixopt.evaluation.tasks.registry import build_task

    rows = [{"prompt": f"the {a} and the", "choices": ["old owl", "ship"], "answer": i % 2}
            for i, a in enumerate(("owl", "ship", "bird", "green tree", "six"))]  # fmt: skip
    toy.write_jsonl(tmp_path / "shared" / "benchmarks" / "copa.jsonl", rows)
    monkeypatch.setattr(smollm, "SHARED", tmp_path / "shared")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    own = write_recipes(tmp_path, monkeypatch, "--harness", "--items", "4")["code"]
    named = {each.name: each for each in own.benchmarks}
    context = TaskContext(tokenizer(), 64, run_code=True)
    network = model().eval()
    theirs = build_task(named["copa_harness"], context).measure(network)
    ours = Scorer([build_task(named["copa"], context)]).score(network)["copa"]
    assert theirs.values.tolist() == ours.values.tolist()
    assert len(theirs.values) == 4
