from dataclasses import replace

import numpy as np
import pytest
import toy
from merging_for_tests import Fixed, choices

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError, RunError
from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import ItemResults
from mixopt.executors.dispatcher import LocalDispatcher
from mixopt.executors.job import Job
from mixopt.io.progress import listening
from mixopt.pipeline.evaluators import open_evaluator
from mixopt.trial import Metric

ROWS = [[0.2, 0.3, 0.5], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1]]


def fresh(evaluator, store, scorer=None):
    """The same base and experts with nothing scored yet."""
    key = {name: value for name, value in evaluator._key.items() if name != "benchmarks"}
    scorer = scorer or evaluator.scorer
    return MergeEvaluator(
        lambda: evaluator.engine, evaluator.k, scorer, store, key, evaluator.response
    )


@pytest.fixture(scope="module")
def evaluator(trained_toy, tmp_path_factory):
    folder = toy.copy_trained(trained_toy, tmp_path_factory.mktemp("evaluator"))
    context = toy.load(folder, trained_toy / "toy.yaml").prepare()
    return open_evaluator(context, tuple(toy.WORDS))


# --- what is scored ---


def test_each_expert_is_best_at_home(evaluator):
    scores = [evaluator.score(np.eye(3)[i].tolist())["merged"] for i in range(3)]
    for index, domain in enumerate(toy.WORDS):
        losses = [s[f"{domain}_heldout"].score for s in scores]
        assert int(np.argmin(losses)) == index


def test_at_a_corner_merge_and_ensemble_are_the_expert(evaluator):
    results = evaluator.score([0.0, 1.0, 0.0])
    for metric, merged in results["merged"].items():
        assert merged.values == pytest.approx(results["ensembled"][metric].values, abs=1e-5)


def test_merge_and_ensemble_differ_inside(evaluator):
    results = evaluator.score([0.4, 0.3, 0.3])
    merged, ensembled = (results[kind]["birds_heldout"].score for kind in ("merged", "ensembled"))
    assert merged != pytest.approx(ensembled, abs=1e-4)


def test_an_ensemble_is_never_worse_than_its_worst_expert(evaluator):
    ensembled = evaluator.score([1 / 3] * 3)["ensembled"]["birds_heldout"].score
    corners = [evaluator.score(np.eye(3)[i].tolist()) for i in range(3)]
    assert ensembled < max(each["merged"]["birds_heldout"].score for each in corners)


def test_log_probabilities_of_experts_are_mapped_and_those_of_one_model_are_read(
    evaluator, monkeypatch
):
    """Each map keeps a file open, and runs are models of their own, of which there are many."""
    assert all(isinstance(flat, np.memmap) for flat in evaluator.expert_logprobs)
    read = evaluator.ensemble.mix([0.4, 0.3, 0.3])
    for limit, k in ((2, 3), (64, 1)):
        monkeypatch.setattr("mixopt.evaluation.evaluator.MOST_MAPPED", limit)
        other = fresh(evaluator, evaluator.store)
        other.k = k
        assert not any(isinstance(flat, np.memmap) for flat in other.expert_logprobs)
        assert len(other.expert_logprobs) == k
        if k == 3:
            assert np.array_equal(other.ensemble.mix([0.4, 0.3, 0.3]), read)


def test_scores_are_read_again(evaluator, monkeypatch):
    first = evaluator.score([0.2, 0.3, 0.5])
    monkeypatch.setattr(evaluator.scorer, "logprobs", lambda *_: pytest.fail("scored again"))
    second = evaluator.score([0.2, 0.3, 0.5])
    for kind, by_metric in first.items():
        for metric, result in by_metric.items():
            assert (result.values == second[kind][metric].values).all()


def test_rows_that_others_have_finished_leave_the_rest_their_own_scores(evaluator, tmp_path):
    rows = np.random.default_rng(7).dirichlet(np.ones(3), 4).tolist()
    store = ArtifactStore(tmp_path / "one")
    other = fresh(evaluator, store)

    class Overtaken(ArtifactStore):
        """Another process finishes the second candidate while the first one is built."""

        def get_or_build(self, artifact, build):
            folder = super().get_or_build(artifact, build)
            if artifact.kind == "scores":
                other.score(rows[1])
            return folder

    found = list(fresh(evaluator, Overtaken(tmp_path / "one")).evaluate(rows))
    alone = fresh(evaluator, ArtifactStore(tmp_path / "two"))
    for row, results in zip(rows, found, strict=True):
        for metric, result in alone.score(row)["merged"].items():
            assert (result.values == results["merged"][metric].values).all()


def test_costs_do_not_depend_on_what_is_found(evaluator, monkeypatch, tmp_path):
    """Whether prompts are shared is tried before costs are counted, not when something is scored."""
    network = evaluator.engine.merger.model

    def flops(folder):
        scorer = Scorer([Fixed(choices())])
        return fresh(evaluator, ArtifactStore(tmp_path / folder), scorer).flops_per_score

    shared = flops("shared")
    monkeypatch.setattr(network.config, "_attn_implementation", "flash_attention_2")
    assert flops("plain") > 1.5 * shared


def test_benchmarks_in_another_order_are_not_mistaken_for_each_other(evaluator, tmp_path):
    """Log-probabilities lie in one array, in the order of the benchmarks."""
    store, row = ArtifactStore(tmp_path), [0.2, 0.3, 0.5]
    first = fresh(evaluator, store).score(row)
    turned = Scorer(list(reversed(evaluator.scorer.tasks)))
    second = fresh(evaluator, store, turned)
    elsewhere = fresh(evaluator, ArtifactStore(tmp_path / "new"), turned)
    for kind, by_metric in elsewhere.score(row).items():
        for metric, result in by_metric.items():
            assert second.score(row)[kind][metric].values == pytest.approx(result.values)
            assert first[kind][metric].values == pytest.approx(result.values)
    corner = [0.0, 1.0, 0.0]
    assert second.ensemble.mix(corner) == pytest.approx(elsewhere.ensemble.mix(corner))


# --- candidates that fail ---


class Unreliable:
    """A benchmark that needs a whole model, and fails as the test says."""

    truncated = 0
    layout = ("unreliable",)

    def __init__(self, name="unreliable"):
        self.metric = Metric(name)
        self.calls, self.fail = 0, lambda call: None

    def measure(self, model):
        self.calls += 1
        error = self.fail(self.calls)
        if error is not None:
            raise error
        return ItemResults(np.array([1.0, 2.0]), np.ones(2))


@pytest.fixture
def pair(evaluator, tmp_path):
    """The evaluator of a driver and that of its worker, over one benchmark of each sort."""
    benchmark = Unreliable()
    scorer, store = Scorer([Fixed(choices()), benchmark]), ArtifactStore(tmp_path)
    worker, driver = fresh(evaluator, store, scorer), fresh(evaluator, store, scorer)
    driver.names, messages = ("a", "b", "c"), []
    driver.on_lost = messages.append

    def work(job: Job) -> None:
        if job.verb == "describe_models":
            _ = worker.facts
        elif job.verb == "score_experts":
            worker.build_expert_logprobs(job.arguments[1])
        else:
            worker.build(job.arguments[1])

    driver.dispatcher = LocalDispatcher(lambda: work, store, 1)
    return driver, worker, benchmark, messages


def test_workers_give_what_this_process_would(pair, evaluator, tmp_path):
    driver, _, _, messages = pair
    alone = fresh(evaluator, ArtifactStore(tmp_path / "alone"), driver.scorer)
    for row, found in zip(ROWS, driver.evaluate(ROWS), strict=True):
        for kind, by_metric in alone.score(row).items():
            for metric, result in by_metric.items():
                assert (found[kind][metric].values == result.values).all()
    assert "engine" not in vars(driver)  # a driver loads no model
    assert messages == []


def test_experts_alone_are_one_job_where_many_cost_little_more(pair):
    driver, worker, *_ = pair
    sizes = []
    worker_run = worker.build_expert_logprobs
    worker.build_expert_logprobs = lambda indices: sizes.append(len(indices)) or worker_run(indices)
    worker.build_expert_logprobs([1])
    driver.facts = replace(driver.measure_facts(), together=True)
    driver.prepare()
    assert sizes == [1, 2]  # what exists is left out
    driver.prepare()
    assert sizes == [1, 2]


def test_scoring_of_experts_tells_its_progress(pair):
    """Minutes each for a large model: a log shows how far it is."""
    _, worker, *_ = pair
    told = []

    class Listener:
        def on_work_begin(self, work):
            pass

        def on_work_advance(self, work):
            told.append((work.what, work.unit, work.done, work.total))

        on_work_end = on_work_begin

    with listening(Listener()):
        worker.build_expert_logprobs([0, 1, 2])
        worker.build_expert_logprobs([0, 2])  # they exist
    # the end of the last is that of the work
    assert told == [("scoring", "expert", 1, 3), ("scoring", "expert", 2, 3)]


def test_a_benchmark_that_fails_costs_its_score_and_no_other(pair):
    driver, _, benchmark, messages = pair
    benchmark.fail = lambda call: OSError("the GPU was reset") if call in (2, 3) else None
    found = list(driver.evaluate(ROWS))
    both = ["fixed", "unreliable"]
    assert [sorted(each["merged"]) for each in found] == [both, ["fixed"], both]
    (message,) = messages
    weights = ", ".join(f"{weight:.3g}" for weight in driver.respond(ROWS[1]))
    assert message == (
        f"The merge at weights {weights} continues without unreliable: the GPU was reset"
    )
    assert benchmark.calls == 4  # one retry of the one that failed
    benchmark.fail = lambda call: None
    again = list(driver.evaluate(ROWS))
    assert benchmark.calls == 5  # scores that exist are not computed again
    assert sorted(again[1]["merged"]) == both


def test_a_failure_that_passes_is_retried(pair):
    driver, _, benchmark, messages = pair
    benchmark.fail = lambda call: OSError("for a moment") if call == 1 else None
    assert all(len(found["merged"]) == 2 for found in driver.evaluate(ROWS))
    assert messages == []


def test_a_candidate_that_fails_as_a_whole_is_set_aside(pair, monkeypatch):
    driver, worker, _, messages = pair
    original = worker.engine.logprobs

    def logprobs(scorer, rows):
        for row in rows:
            if list(row) == driver.respond(ROWS[1]):
                raise RuntimeError("CUDA error: an illegal memory access")
            yield from original(scorer, [row])

    monkeypatch.setattr(worker.engine, "logprobs", logprobs)
    found = list(driver.evaluate(ROWS))
    assert [bool(each) for each in found] == [True, False, True]
    (message,) = messages
    assert "is set aside: CUDA error: an illegal memory access" in message
    with pytest.raises(
        RunError,
        match=r"The merge with weights a 0\.519, b 0\.241, c 0\.241 has no score of fixed, unreliable, "
        "which is needed here; the warnings before say why fixed could not be scored",
    ):
        driver.score(ROWS[1])


def test_candidates_of_a_failed_job_are_tried_one_by_one(pair, monkeypatch):
    driver, _, benchmark, messages = pair
    monkeypatch.setattr(LocalDispatcher, "prefers_large_jobs", True)  # one job for all candidates
    benchmark.fail = lambda call: OSError("no") if call >= 3 else None
    found = list(driver.evaluate(ROWS))
    both = ["fixed", "unreliable"]
    assert [sorted(each["merged"]) for each in found] == [both, both, ["fixed"]]
    assert len(messages) == 1


def test_wrong_input_ends_the_search(pair):
    driver, _, benchmark, _ = pair
    benchmark.fail = lambda call: ModelError("This model cannot write; choose another.")
    with pytest.raises(ModelError, match="cannot write"):
        list(driver.evaluate(ROWS))


def test_a_worker_that_builds_other_artifacts_is_reported(pair):
    driver, *_ = pair
    list(driver.evaluate(ROWS[:1]))
    driver.dispatcher = LocalDispatcher(lambda: lambda job: None, driver.store, 0)
    with pytest.raises(RunError, match="run the same mixopt, Python and libraries"):
        list(driver.evaluate(ROWS))


def test_without_workers_a_failure_is_raised(pair):
    _, worker, benchmark, _ = pair
    benchmark.fail = lambda call: OSError("no")
    with pytest.raises(OSError, match="no"):
        list(worker.evaluate(ROWS))


def test_gradients_are_those_at_weights_equal_to_the_ratios(pair):
    driver = pair[0]
    driver.response = 0.7
    with pytest.raises(ModelError, match=r"needs search\.response: 1, and it is 0\.7; set it to 1"):
        driver.slopes(ROWS[0])
