import numpy as np
import pytest
import toy
from models_for_tests import model, tokenizer

from mixopt.config.benchmarks import BitsPerByteConfig, MultipleChoiceConfig
from mixopt.config.text import FilesTextConfig
from mixopt.evaluation.item_sampling import (
    ItemSample,
    SampledTask,
    compute_control_variates,
    fit_control_variates,
    sample_items,
)
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import ItemResults, TaskContext
from mixopt.evaluation.tasks.bits_per_byte import BitsPerByteTask
from mixopt.evaluation.tasks.multiple_choice import MultipleChoiceTask


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
    parts = Scorer([SampledTask(task, items) for task in tasks])
    for name, part in parts.score(network).items():
        assert part.values == pytest.approx(whole[name].values[items], rel=1e-5)
        assert part.sizes == pytest.approx(whole[name].sizes[items])
    assert parts.count_tokens() < 0.4 * Scorer(tasks).count_tokens()


def test_every_item_is_stood_for_once():
    values = np.random.default_rng(0).normal(size=(4, 50))
    draw = ItemSample.stratified(values, np.ones(50), 0.3, seed=0)
    assert len(draw.items) == 15
    assert (np.diff(draw.items) > 0).all()
    assert draw.stands_for.sum() == 50


def test_a_small_benchmark_is_scored_whole():
    draw = ItemSample.stratified(
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
            draw = ItemSample.stratified(experts, sizes, 0.25, seed)
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
        draw = ItemSample.stratified(experts, np.ones(80), 0.25, seed)
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
        x = compute_control_variates(weights.tolist(), ensemble, experts, base)
        controls.append(x)
        values.append(x @ [0.8, 0.3, -0.1, 0.02])
    assert fit_control_variates(controls, values) == pytest.approx([0.8, 0.3, -0.1, 0.02], abs=1e-3)


def test_draws_are_of_all_tasks_and_the_same_for_the_same_seed(tasks):
    whole = Scorer(tasks)
    experts = [whole.score(model(seed=seed)) for seed in range(3)]
    scorer, draws = sample_items(tasks, experts, 0.5, 7)
    assert [len(draw.items) for draw in draws] == [12, 12]
    assert [task.metric.name for task in scorer.tasks] == ["t", "m"]
    again = sample_items(tasks, experts, 0.5, 7)[1]
    assert all((a.items == b.items).all() for a, b in zip(draws, again, strict=True))
