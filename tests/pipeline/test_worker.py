import pickle
import re
from pathlib import Path

import pytest
import toy

import mixopt
from mixopt.config.loader import choose_executor, load_study
from mixopt.errors import RunError
from mixopt.executors.base import WorkerLostError
from mixopt.executors.dispatcher import Dispatcher
from mixopt.executors.job import Job
from mixopt.pipeline import worker
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.environment import RunEnvironment
from mixopt.pipeline.evaluators import open_evaluator
from mixopt.pipeline.experts import train_base, train_experts
from mixopt.pipeline.input_staging import stage
from mixopt.pipeline.worker import StudyWorker, make_worker

NAMES = tuple(toy.WORDS)


@pytest.mark.slow
def test_a_worker_elsewhere_builds_what_the_driver_finds(tmp_path, monkeypatch):
    """The worker has neither text nor the driver's folders, only the storage."""
    config = choose_executor(load_study(toy.write_study(tmp_path / "s")), "ray")
    monkeypatch.setattr("mixopt.pipeline.environment.gettempdir", lambda: str(tmp_path))
    here = RunEnvironment(
        tmp_path / "driver" / "out",
        tmp_path / "driver" / "cache",
        f"{tmp_path}/storage",
        "cpu",
        False,
    )
    driver = StudyContext(config, here)
    driver.corpora.build()
    staged = stage(config, driver.store)
    sent = pickle.dumps((here.on_another_machine(), staged, driver.measure_inputs()))
    environment, staged, inputs = pickle.loads(sent)
    assert str(tmp_path / "driver") not in str(environment.store)
    (tmp_path / "s" / "data").rename(tmp_path / "s" / "gone")
    away = make_worker(environment, staged, inputs)
    away(Job("train_base", (), "the base"))
    for name in NAMES:
        away(Job("train_expert", (name,), name))
    away(Job("describe_models", (NAMES,), "facts"))
    away(Job("score", (NAMES, [(0.2, 0.3, 0.5)]), "a candidate"))
    (tmp_path / "s" / "gone").rename(tmp_path / "s" / "data")

    driver.dispatcher = Dispatcher(lambda: pytest.fail("nothing is left to do"), driver.store, 0)
    train_base(driver)
    experts = train_experts(driver)
    assert all(r.folder.is_relative_to(tmp_path / "driver") for r in experts.results.values())
    evaluator = open_evaluator(driver, NAMES, driver.dispatcher)
    assert evaluator.items.cache.find((0.2, 0.3, 0.5)) is not None
    assert evaluator.measure_facts().tokens > 0
    assert "engine" not in vars(evaluator)


def test_the_device_is_that_of_the_workers(tmp_path):
    config = load_study(toy.write_study(tmp_path))
    plain = config.model_dump(mode="json")
    for executor, device, n_devices in (
        ({"kind": "ray", "gpus": 2}, "cuda", 2), ({"kind": "ray", "gpus": 0.5}, "cuda", 1),
        ("slurm", "cpu", 1), ("processes", "cpu", 1), ("local", "cpu", None),
    ):  # fmt: skip
        changed = type(config).model_validate(plain | {"executor": executor})
        environment = RunEnvironment(tmp_path / "a", tmp_path / "c", None, "auto", False)
        context = StudyContext(changed, environment)
        assert (context.device.name, context.n_devices) == (device, n_devices)


def test_every_job_that_a_study_gives_is_one_that_a_worker_does(toy_folder):
    """Each verb in the package is understood, and no other."""
    root = Path(mixopt.__file__).parent
    texts = [p.read_text() for p in root.rglob("*.py") if p.name != "job.py"]
    given = {verb for text in texts for verb in re.findall(r'Job\(\s*"(\w+)"', text)}
    understood = set(re.findall(r'case "(\w+)"', Path(worker.__file__).read_text()))
    assert given == understood
    assert len(given) == 9
    with pytest.raises(ValueError, match="no worker knows the job 'dance'"):
        StudyWorker(toy.load(toy_folder).context)(Job("dance", (), "x"))


class Lossy:
    """An executor whose worker is lost as often as the test says."""

    slots, prefers_large_jobs, is_remote = 1, False, False

    def __init__(self, do, losses):
        self.do, self.losses = do, losses

    def submit(self, job):
        from concurrent.futures import Future

        future = Future()
        if self.losses:
            self.losses -= 1
            future.set_exception(WorkerLostError("The machine went away."))
        else:
            self.do(job)
            future.set_result(None)
        return future

    def close(self):
        pass


def test_a_lost_worker_is_recorded_until_its_job_is_done(toy_folder):
    training = toy.study_plain()["training"] | {"learning_rate": 8e-3}
    context = toy.load(toy_folder, toy.write_study(toy_folder, training=training)).prepare()
    do = StudyWorker(context)
    lossy = Lossy(do, losses=6)
    context.dispatcher = Dispatcher(lambda: lossy, context.store, 1)
    with pytest.raises(RunError, match="0 of 3 experts were trained"):
        train_experts(context)
    assert {(f.name, f.times, f.cause) for f in context.store.failures()} == {
        (name, 2, "The machine went away.") for name in NAMES
    }
    assert list(train_experts(context).results) == list(NAMES)
    assert context.store.failures() == []
