"""Candidates that fail are set aside; what they have is kept; the others go on."""

import numpy as np
import pytest
from evaluation.test_evaluator import anew
from merging_for_tests import Fixed, choices
from pipeline.test_laboratory import laboratory

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError, RunError
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import ItemResults
from mixopt.executors.dispatcher import Dispatcher
from mixopt.executors.job import Job
from mixopt.executors.local import LocalExecutor
from mixopt.trials import Metric

ROWS = [[0.2, 0.3, 0.5], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1]]


class Asked:
    """A benchmark that needs a whole model, and fails as the test says."""

    truncated = 0
    layout = ("asked",)

    def __init__(self, name="asked"):
        self.metric = Metric(name)
        self.calls, self.fail = 0, lambda call: None

    def measure(self, model):
        self.calls += 1
        error = self.fail(self.calls)
        if error is not None:
            raise error
        return ItemResults(np.array([1.0, 2.0]), np.ones(2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    lab = laboratory(tmp_path_factory.mktemp("candidates"))
    return lab.open_swarm([lab.train_expert(name).folder for name in lab.compositions])


@pytest.fixture
def two(trained, tmp_path):
    """The swarm of a driver and that of its worker, over one benchmark of each sort."""
    asked = Asked()
    scorer = Scorer([Fixed(choices()), asked])
    journal = ArtifactStore(tmp_path)
    worker, driver = anew(trained, journal, scorer), anew(trained, journal, scorer)
    driver.names, driver.told = ("a", "b", "c"), []
    driver.lost = driver.told.append
    verbs = {"describe": lambda _: worker.facts, "score": lambda _, rows: list(worker.make(rows)),
             "score_corner": lambda _, index: worker.make_corners([index])}  # fmt: skip

    def work(job: Job) -> None:
        verbs[job.verb](*job.arguments)

    driver.crew = Dispatcher(lambda: LocalExecutor(work), 1)
    return driver, worker, asked


def test_a_crew_gives_what_this_process_would(two, trained, tmp_path):
    driver, _, _ = two
    alone = anew(trained, ArtifactStore(tmp_path / "alone"), driver.scorer)
    for row, found in zip(ROWS, driver.score_all(ROWS), strict=True):
        for kind, by_metric in alone.score(row).items():
            for metric, result in by_metric.items():
                assert (found[kind][metric].values == result.values).all()
    assert "engine" not in vars(driver)  # who sends work loads no model
    assert driver.told == []


def test_a_benchmark_that_fails_costs_its_score_and_no_other(two):
    driver, _, asked = two
    asked.fail = lambda call: OSError("the card fell off") if call in (2, 3) else None
    found = list(driver.score_all(ROWS))
    assert [sorted(each["merged"]) for each in found] == [["asked", "fixed"], ["fixed"],
                                                         ["asked", "fixed"]]  # fmt: skip
    (told,) = driver.told
    weights = ", ".join(f"{weight:.3g}" for weight in driver.respond(ROWS[1]))
    assert told == f"The merge at weights {weights} goes on without asked: the card fell off"
    assert asked.calls == 4  # once more for the one that failed, as the retries say
    asked.fail = lambda call: None
    again = list(driver.score_all(ROWS))
    assert asked.calls == 5  # what was there is not asked for again
    assert sorted(again[1]["merged"]) == ["asked", "fixed"]


def test_a_failure_that_passes_is_tried_again(two):
    driver, _, asked = two
    asked.fail = lambda call: OSError("for a moment") if call == 1 else None
    assert all(len(found["merged"]) == 2 for found in driver.score_all(ROWS))
    assert driver.told == []


def test_a_candidate_that_fails_whole_is_set_aside_and_said(two, monkeypatch):
    driver, worker, _ = two
    original = worker.engine.logprobs

    def logprobs(scorer, rows):
        for row in rows:
            if list(row) == driver.respond(ROWS[1]):
                raise RuntimeError("CUDA error: an illegal memory access")
            yield from original(scorer, [row])

    monkeypatch.setattr(worker.engine, "logprobs", logprobs)
    found = list(driver.score_all(ROWS))
    assert [bool(each) for each in found] == [True, False, True]
    (told,) = driver.told
    assert "is set aside: CUDA error: an illegal memory access" in told
    with pytest.raises(RunError, match="has no score of fixed, asked, which is needed here"):
        driver.score(ROWS[1])


def test_of_a_shard_that_fails_each_row_is_tried_alone(two, monkeypatch):
    driver, worker, asked = two
    monkeypatch.setattr(LocalExecutor, "coarse", True)  # one job for all rows
    asked.fail = lambda call: OSError("no") if call >= 3 else None
    found = list(driver.score_all(ROWS))
    assert [sorted(each["merged"]) for each in found] == [["asked", "fixed"], ["asked", "fixed"],
                                                         ["fixed"]]  # fmt: skip
    assert len(driver.told) == 1


def test_wrong_input_ends_the_search(two):
    driver, _, asked = two
    asked.fail = lambda call: ModelError("This model cannot write; choose another.")
    with pytest.raises(ModelError, match="cannot write"):
        list(driver.score_all(ROWS))


def test_a_worker_that_makes_other_units_is_told(two):
    driver, _, _ = two
    verbs = driver.crew
    list(driver.score_all(ROWS[:1]))

    class Idle:
        slots, coarse, remote = 1, False, False

        def do(self, jobs):
            for job in jobs:
                yield job, None

    driver.crew = Idle()
    with pytest.raises(RunError, match="run the same mixopt, Python and libraries"):
        list(driver.score_all(ROWS))
    driver.crew = verbs


def test_without_a_crew_a_failure_is_raised(two):
    _, worker, asked = two
    asked.fail = lambda call: OSError("no")
    with pytest.raises(OSError, match="no"):
        list(worker.score_all(ROWS))
