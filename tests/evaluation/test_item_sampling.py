import numpy as np
import pytest
import toy
from evaluation.test_evaluator import fresh
from models_for_tests import model, tokenizer

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.benchmarks import BitsPerByteConfig, MultipleChoiceConfig
from mixopt.config.text import FilesTextConfig
from mixopt.evaluation import item_sampling
from mixopt.evaluation.item_sampling import (
    SampledItems,
    _compute_control_variates,
    _fit_control_variates,
    _ItemSample,
    _SampledTask,
    sample_items,
)
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import ItemResults, TaskContext
from mixopt.evaluation.tasks.bits_per_byte import BitsPerByteTask
from mixopt.evaluation.tasks.multiple_choice import MultipleChoiceTask
from mixopt.pipeline.evaluators import open_evaluator

FITTED_ON = [[0.2, 0.3, 0.5], [0.6, 0.2, 0.2], [1 / 3] * 3, [0.1, 0.8, 0.1]]
ROWS = [[0.5, 0.4, 0.1], [0.15, 0.25, 0.6]]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    import random

    folder, rng = tmp_path_factory.mktemp("items"), random.Random(0)
    texts = [{"text": toy.text("birds", rng, rng.randrange(20, 90))} for _ in range(24)]
    path = str(toy.write_jsonl(folder / "t.jsonl", texts))
    documents = BitsPerByteConfig(
        name="t", kind="bits_per_byte", text=FilesTextConfig(paths=[path])
    )
    rows = [
        {
            "prompt": toy.text("sums", rng, 5),
            "choices": ["owl", "ship", "six"][: 2 + i % 2],
            "answer": 1,
        }
        for i in range(24)
    ]
    path = str(toy.write_jsonl(folder / "m.jsonl", rows))
    choices = MultipleChoiceConfig(name="m", kind="multiple_choice", items=path)
    context = TaskContext(tokenizer(), 32)
    return [BitsPerByteTask(documents, context), MultipleChoiceTask(choices, context)]


def test_some_items_score_as_they_do_among_all(tasks):
    network = model()
    whole = Scorer(tasks).score(network)
    items = np.array([1, 5, 6, 20])
    parts = Scorer([_SampledTask(task, items) for task in tasks])
    for name, part in parts.score(network).items():
        assert part.values == pytest.approx(whole[name].values[items], rel=1e-5)
        assert part.sizes == pytest.approx(whole[name].sizes[items])
    assert parts.count_tokens() < 0.4 * Scorer(tasks).count_tokens()


def test_strata_hold_every_item_once():
    values = np.random.default_rng(0).normal(size=(4, 50))
    draw = _ItemSample.stratified(values, np.ones(50), 0.3, seed=0)
    assert len(draw.items) == 15
    assert (np.diff(draw.items) > 0).all()
    assert draw.stratum_sizes.sum() == 50


def test_a_small_benchmark_is_scored_whole():
    draw = _ItemSample.stratified(
        np.random.default_rng(0).normal(size=(3, 6)), np.ones(6), 0.1, seed=0
    )
    assert draw.items.tolist() == list(range(6))
    estimate = draw.estimate(np.arange(6.0), np.zeros(6), np.ones(6))
    assert estimate.values.tolist() == list(range(6))


def test_the_estimate_is_unbiased_whatever_is_predicted():
    rng = np.random.default_rng(0)
    truth, sizes = rng.normal(size=40), rng.uniform(1, 3, 40)
    experts = rng.normal(size=(3, 40))
    for predicted in (np.zeros(40), truth + rng.normal(size=40)):
        scores = []
        for seed in range(600):
            draw = _ItemSample.stratified(experts, sizes, 0.25, seed)
            scores.append(draw.estimate(truth[draw.items], predicted, sizes).score)
        error = np.std(scores) / np.sqrt(len(scores))
        assert np.mean(scores) == pytest.approx(truth.sum() / sizes.sum(), abs=4 * error)


def test_good_predictions_make_it_surer_and_the_error_says_how_sure():
    rng = np.random.default_rng(1)
    hard = rng.normal(size=80)
    truth = hard + 0.1 * rng.normal(size=80)
    experts = np.stack([hard + 0.3 * rng.normal(size=80) for _ in range(3)])
    scores, errors = {"blind": [], "told": []}, []
    for seed in range(300):
        draw = _ItemSample.stratified(experts, np.ones(80), 0.25, seed)
        for name, predicted in (("blind", np.zeros(80)), ("told", hard)):
            estimate = draw.estimate(truth[draw.items], predicted, np.ones(80))
            scores[name].append(estimate.score)
            if name == "told":
                whole = ItemResults(truth, np.ones(80))
                errors.append(estimate.minus(whole)[1])
    assert np.std(scores["told"]) < 0.25 * np.std(scores["blind"])
    assert np.mean(errors) == pytest.approx(np.std(scores["told"]), rel=0.3)


def test_control_variates_learn_how_a_merge_follows_its_experts():
    rng = np.random.default_rng(2)
    sizes = rng.uniform(10, 20, 30)
    experts = [ItemResults(rng.normal(size=30), sizes) for _ in range(3)]
    base = ItemResults(rng.normal(size=30), sizes)
    controls, values = [], []
    for _ in range(5):
        weights = rng.dirichlet(np.ones(3))
        ensemble = ItemResults(rng.normal(size=30), sizes)
        x = _compute_control_variates(weights.tolist(), ensemble, experts, base)
        controls.append(x)
        values.append(x @ [0.8, 0.3, -0.1, 0.02])
    assert _fit_control_variates(controls, values) == pytest.approx(
        [0.8, 0.3, -0.1, 0.02], abs=1e-3
    )


def test_draws_are_of_all_tasks_and_the_same_for_the_same_seed(tasks):
    whole = Scorer(tasks)
    experts = [whole.score(model(seed=seed)) for seed in range(3)]
    scorer, draws = sample_items(tasks, experts, 0.5, 7)
    assert [len(draw.items) for draw in draws] == [12, 12]
    assert [task.metric.name for task in scorer.tasks] == ["t", "m"]
    again = sample_items(tasks, experts, 0.5, 7)[1]
    assert all((a.items == b.items).all() for a, b in zip(draws, again, strict=True))


@pytest.fixture(scope="module")
def evaluator(trained_toy, tmp_path_factory):
    folder = toy.copy_trained(trained_toy, tmp_path_factory.mktemp("sampled"))
    context = toy.load(folder, trained_toy / "toy.yaml").prepare()
    return open_evaluator(context, tuple(toy.WORDS))


@pytest.fixture
def sampled(evaluator, monkeypatch):
    monkeypatch.setattr(item_sampling, "FEWEST", 3)
    return SampledItems(evaluator, FITTED_ON, 0.5, seed=0)


def test_estimates_are_near_the_scores_on_all_items_and_know_how_near(evaluator, sampled):
    for row, found in zip(ROWS, evaluator.evaluate(ROWS, sampled), strict=True):
        whole = evaluator.score(row)
        for name, result in found["merged"].items():
            assert result.sizes == pytest.approx(whole["merged"][name].sizes)
            off, error = result.minus(whole["merged"][name])
            assert abs(off) <= 4 * error + 1e-9
        for name, result in found["ensembled"].items():
            assert result.values == pytest.approx(whole["ensembled"][name].values)


def test_only_some_items_are_scored(evaluator, sampled, monkeypatch):
    calls = []
    original = evaluator.engine.logprobs
    monkeypatch.setattr(
        evaluator.engine, "logprobs",
        lambda scorer, rows: calls.append((scorer.n_targets, len(rows))) or original(scorer, rows),
    )  # fmt: skip
    list(evaluator.evaluate([[0.3, 0.3, 0.4]], sampled))
    ((targets, rows),) = [call for call in calls if call[0] != evaluator.scorer.n_targets]
    assert rows == 1
    assert targets < 0.8 * evaluator.scorer.n_targets
    assert sampled.flops_per_score < 0.9 * evaluator.flops_per_score


def test_batches_of_sampled_items_are_made_once(evaluator, sampled, monkeypatch):
    names = [metric.name for metric in evaluator.scorer.metrics]
    evaluator.prepare()
    monkeypatch.setattr(evaluator.scorer, "share_prompts", False)  # as after a trial that failed
    scorer = sampled.scorer_for(names)
    assert sampled.scorer_for(names[::-1]) is scorer
    assert not scorer.share_prompts
    assert sampled.scorer_for(names[:1]).metrics == evaluator.scorer.metrics[:1]


def test_estimates_are_read_again_and_another_seed_draws_other_items(
    evaluator, sampled, monkeypatch
):
    (first,) = evaluator.evaluate(ROWS[:1], sampled)
    (other,) = evaluator.evaluate(ROWS[:1], SampledItems(evaluator, FITTED_ON, 0.5, seed=1))
    values = [r["merged"]["birds_heldout"].values for r in (first, other)]
    assert not np.array_equal(*values)
    monkeypatch.setattr(evaluator.scorer, "read", lambda *_: pytest.fail("scored again"))
    (again,) = evaluator.evaluate(ROWS[:1], SampledItems(evaluator, FITTED_ON, 0.5, seed=0))
    assert (again["merged"]["birds_heldout"].values == values[0]).all()


def test_the_same_candidate_twice_leaves_the_others_their_own_scores(evaluator, sampled, tmp_path):
    rows = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]]
    together = list(evaluator.evaluate(rows, sampled))
    alone = fresh(evaluator, ArtifactStore(tmp_path))
    items = SampledItems(alone, FITTED_ON, 0.5, seed=0)
    for row, found in zip(rows, together, strict=True):
        (single,) = alone.evaluate([row], items)
        for name, result in single["merged"].items():
            assert found["merged"][name].values == pytest.approx(result.values)
