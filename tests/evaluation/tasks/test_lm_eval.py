"""With the real harness, on tasks of our own that need no network."""

import numpy as np
import pytest
import toy
import yaml
from models_for_tests import model, tokenizer

from mixopt.config.benchmarks import HarnessConfig, MultipleChoiceConfig
from mixopt.errors import DataError, MissingExtraError
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.lm_eval import LmEvalTask
from mixopt.evaluation.tasks.multiple_choice import MultipleChoiceTask

pytest.importorskip("lm_eval", reason="mixopt[eval] is not installed")
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore"
    ),  # the harness and what it loads have warnings of their own
]

WORDS = ["owl", "ship sails", "two", "six", "green tree", "old owl"]
ROWS = [
    {
        "question": f"the {WORDS[i % 6]} and",
        "choices": [WORDS[(i + j) % 6] for j in range(1, 5)],
        "answer": i % 4,
    }
    for i in range(24)
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    toy.write_jsonl(tmp_path / "rows.jsonl", ROWS)
    told = {
        "task": "toy_choice",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("acc", "acc_norm")
        ],
        "metadata": {"version": 1.0},
    }
    (tmp_path / "toy_choice.yaml").write_text(yaml.safe_dump(told))
    return tmp_path


def build(folder, **says):
    says = {"task": "toy_choice", "include_path": str(folder)} | says
    recipe = HarnessConfig(name="h", kind="harness", **says)
    return LmEvalTask(recipe, TaskContext(tokenizer(), 64, run_code=True))


def test_the_harness_and_our_multiple_choice_agree_item_by_item(folder):
    network = model().eval()
    theirs = build(folder, metric="acc_norm")
    results = theirs.measure(network)
    rows = [{**row, "prompt": row["question"]} for row in ROWS]
    path = toy.write_jsonl(folder / "ours.jsonl", rows)
    recipe = MultipleChoiceConfig(name="m", kind="multiple_choice", items=str(path))
    ours = MultipleChoiceTask(recipe, TaskContext(tokenizer(), 64))
    from mixopt.evaluation.scorer import Scorer

    scorer = Scorer([ours])
    mine = scorer.score(network)["m"]
    assert 0 < results.score < 1
    # the harness counts characters, which are bytes here
    assert np.abs(results.values - np.round(mine.values)).sum() <= 1  # a tie may fall either way
    assert theirs.metric.better == "higher"


def test_metrics_items_and_shots_are_the_recipes(folder):
    task = build(folder, metric="acc", max_items=10, shots=2)
    assert task.measure(model()).values.shape == (10,)
    layouts = {
        repr(build(folder, **says).layout)
        for says in ({}, {"metric": "acc_norm"}, {"max_items": 5}, {"shots": 1})
    }
    assert len(layouts) == 4


def test_unknown_tasks_and_metrics_say_what_is_meant(folder):
    with pytest.raises(DataError, match="Did you mean 'toy_choice'"):
        build(folder, task="toy_choise")
    with pytest.raises(DataError, match="Did you mean 'acc_norm'"):
        build(folder, metric="acc_nrom")


def test_a_task_whose_data_is_not_there_is_one_sentence(folder):
    told = yaml.safe_load((folder / "toy_choice.yaml").read_text())
    told |= {"task": "gone", "dataset_kwargs": {"data_files": {"test": str(folder / "no.jsonl")}}}
    (folder / "gone.yaml").write_text(yaml.safe_dump(told))
    with pytest.raises(DataError, match="cannot load 'gone'"):
        build(folder, task="gone")


def test_without_the_extra_its_name_is_told(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingExtraError, match=r"mixopt\[eval\]"):
        build(folder)


def test_too_few_items_are_refused(folder):
    with pytest.raises(DataError, match="has 1 items"):
        build(folder, max_items=1)


def test_every_model_sees_the_same_examples(folder, monkeypatch):
    from lm_eval.models.huggingface import HFLM

    seen = []
    original = HFLM.loglikelihood

    def spy(self, requests, **rest):
        seen.append([request.args for request in requests])
        return original(self, requests, **rest)

    monkeypatch.setattr(HFLM, "loglikelihood", spy)
    task = build(folder, shots=2)
    first, second = task.measure(model()), task.measure(model(seed=1))
    assert sorted(seen[0]) == sorted(seen[1])
    assert first.values.shape == second.values.shape


def test_another_prompt_is_another_layout(folder):
    before = repr(build(folder).layout)
    told = yaml.safe_load((folder / "toy_choice.yaml").read_text())
    (folder / "toy_choice.yaml").write_text(
        yaml.safe_dump(told | {"doc_to_text": "Q {{question}}"})
    )
    assert repr(build(folder).layout) != before


def test_one_filter_is_read(folder):
    told = yaml.safe_load((folder / "toy_choice.yaml").read_text())
    told["filter_list"] = [
        {"name": name, "filter": [{"function": "take_first"}]} for name in ("strict", "loose")
    ]
    (folder / "toy_choice.yaml").write_text(yaml.safe_dump(told))
    assert build(folder, filter="loose").measure(model()).values.shape == (len(ROWS),)
    with pytest.raises(DataError, match="Did you mean 'strict'"):
        build(folder, filter="strickt").measure(model())


def test_task_files_of_ones_own_are_code(folder):
    recipe = HarnessConfig(name="h", kind="harness", task="toy_choice", include_path=str(folder))
    with pytest.raises(DataError, match="may name Python that is run .*; pass --run-code"):
        LmEvalTask(recipe, TaskContext(tokenizer(), 64))


CODE = """
def process_docs(docs):
    return docs

def pass_at_k(references, predictions, k):
    return {f"pass@{each}": float(len(predictions[0]) % 2) for each in k}
"""


def write_task(folder, name, functions=(), **fields):
    """A task of the toy choices with other fields, some of them functions of `utils.py`."""
    told = yaml.safe_load((folder / "toy_choice.yaml").read_text()) | {"task": name} | fields
    text = yaml.safe_dump({key: value for key, value in told.items() if value is not None})
    text += "".join(f"{key}: !function utils.{value}\n" for key, value in functions)
    (folder / "utils.py").write_text(CODE)
    (folder / f"{name}.yaml").write_text(
        text.replace("'!function utils.pass_at_k'", "!function utils.pass_at_k")
    )


def write_loglikelihood(folder, metrics):
    write_task(folder, "toy_words", output_type="loglikelihood", doc_to_choice=None,
               doc_to_target="owl {{answer}}", metric_list=metrics)  # fmt: skip


def test_a_perplexity_is_read_as_its_logarithm_and_lower_is_better(folder, monkeypatch):
    from lm_eval import evaluator

    write_loglikelihood(
        folder, [{"metric": "perplexity", "higher_is_better": False}, {"metric": "acc"}]
    )
    task, theirs, original = build(folder, task="toy_words"), [], evaluator.evaluate

    def spy(**rest):
        outcome = original(**rest)
        theirs.append(outcome["results"]["toy_words"]["perplexity,none"])
        return outcome

    monkeypatch.setattr(evaluator, "evaluate", spy)
    ours = [task.measure(model(seed=seed)).score for seed in (0, 1)]
    assert task.metric.better == "lower"
    np.testing.assert_allclose(ours, np.log(theirs), rtol=1e-6)
    assert ours[0] != ours[1]
    assert min(ours) > 0


@pytest.mark.parametrize("aggregation", ["median", "nanmean"])
def test_a_metric_that_is_no_mean_over_items_is_refused_before_anything_is_measured(
    folder, aggregation
):
    metrics = [{"metric": "acc", "aggregation": aggregation, "higher_is_better": True},
               {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True}]  # fmt: skip
    write_task(folder, "toy_other", metric_list=metrics)
    with pytest.raises(DataError, match="'acc' .* is no mean over items; name another, 'acc_norm'"):
        build(folder, task="toy_other")
    assert build(folder, task="toy_other", metric="acc_norm").metric.better == "higher"
    write_task(folder, "toy_other", metric_list=metrics[:1])
    with pytest.raises(DataError, match="choose another task"):
        build(folder, task="toy_other")


def test_the_layout_of_a_task_with_functions_is_the_same_in_every_process(folder):
    filters = [{"name": "one", "filter": [{"function": "take_first"}]}]
    write_task(folder, "toy_code", [("process_docs", "process_docs")], filter_list=filters)
    layout = repr(build(folder, task="toy_code").layout)
    assert " at 0x" not in layout
    assert "def process_docs(docs):" in layout
    (folder / "utils.py").write_text(CODE.replace("return docs", "return docs  # all"))
    # loaded again as in another process, where the functions lie elsewhere
    assert repr(build(folder, task="toy_code").layout) != layout
    (folder / "utils.py").write_text(CODE)
    assert repr(build(folder, task="toy_code").layout) == layout


def write_programs(folder):
    metrics = [{"metric": "!function utils.pass_at_k", "aggregation": "mean",
                "higher_is_better": True, "k": [1]}]  # fmt: skip
    write_task(folder, "toy_programs", output_type="generate_until", doc_to_choice=None,
               generation_kwargs={"until": ["\n"], "max_gen_toks": 8}, metric_list=metrics,
               unsafe_code=True)  # fmt: skip


def test_a_task_that_runs_programs_is_run_where_that_is_allowed(folder):
    write_programs(folder)
    for metric in (None, "pass@1", "pass_at_k"):
        task = build(folder, task="toy_programs", metric=metric)
        values = task.measure(model()).values
        assert set(values) <= {0.0, 1.0}
        assert len(values) == len(ROWS)
    with pytest.raises(DataError, match=r"Did you mean 'pass@1'"):
        build(folder, task="toy_programs", metric="pass@11")


def test_a_task_that_runs_programs_is_refused_elsewhere(folder, monkeypatch):
    write_programs(folder)
    own, context = build(folder, task="toy_programs"), TaskContext(tokenizer(), 64)
    monkeypatch.setattr("mixopt.evaluation.tasks.lm_eval._load", lambda config: own._task)
    with pytest.raises(DataError, match="'toy_programs' runs programs .*--run-code"):
        LmEvalTask(HarnessConfig(name="h", kind="harness", task="toy_programs"), context)


def test_code_eval_without_leave_of_the_environment_says_what_to_set(folder):
    write_programs(folder)
    (folder / "utils.py").write_text('raise ValueError("####\\nset HF_ALLOW_CODE_EVAL to 1")')
    with pytest.raises(
        DataError, match="runs programs .* and HF_ALLOW_CODE_EVAL=1 in the environment"
    ):
        build(folder, task="toy_programs")


@pytest.mark.parametrize("settings", [{"max_gen_toks": 64}, {"max_new_tokens": 70}, {}])
def test_a_task_that_writes_as_much_as_the_context_is_refused(folder, settings):
    write_task(folder, "toy_long", output_type="generate_until", doc_to_choice=None,
               generation_kwargs={"until": ["\n"], **settings},
               metric_list=[{"metric": "exact_match"}])  # fmt: skip
    with pytest.raises(DataError, match="writes .* tokens, and the context of 64 leaves none"):
        build(folder, task="toy_long")


def test_items_that_the_harness_truncates_are_counted(folder):
    assert build(folder).truncated == 0
    rows = [
        {**row, "question": row["question"] * (20 if i < 3 else 1)} for i, row in enumerate(ROWS)
    ]
    toy.write_jsonl(folder / "long.jsonl", rows)
    files = {"data_files": {"test": str(folder / "long.jsonl")}}
    write_task(folder, "toy_cut", dataset_kwargs=files)
    assert build(folder, task="toy_cut").truncated == 3
