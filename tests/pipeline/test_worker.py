import json
import pickle
import re
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import toy

import mixopt
from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.config.loader import choose_executor, load_study
from mixopt.config.study import StudyConfig
from mixopt.data import heldout_text
from mixopt.errors import DataError, DivergedError, RunError
from mixopt.evaluation.tasks.items import read_item_texts
from mixopt.executors.base import WorkerLostError
from mixopt.executors.dispatcher import Dispatcher
from mixopt.executors.job import Job
from mixopt.pipeline import worker
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.environment import RunEnvironment
from mixopt.pipeline.evaluators import open_evaluator
from mixopt.pipeline.experts import train_base, train_experts
from mixopt.pipeline.worker import StudyWorker, make_worker, stage, unstage
from mixopt.training.device import Device

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
    for executor, device in (
        ({"kind": "ray", "gpus": 2}, "cuda"), ({"kind": "ray", "gpus": 0.5}, "cuda"),
        ("slurm", "cpu"), ("processes", "cpu"), ("local", "cpu"),
    ):  # fmt: skip
        changed = type(config).model_validate(plain | {"executor": executor})
        environment = RunEnvironment(tmp_path / "a", tmp_path / "c", None, "auto", False)
        context = StudyContext(changed, environment)
        assert context.device.name == device


def test_every_job_that_a_study_gives_is_one_that_a_worker_does(toy_folder):
    """Each verb in the package is understood, and no other."""
    root = Path(mixopt.__file__).parent
    texts = [p.read_text() for p in root.rglob("*.py") if p.name != "job.py"]
    given = {verb for text in texts for verb in re.findall(r'Job\(\s*"(\w+)"', text)}
    understood = set(re.findall(r'case "(\w+)"', Path(worker.__file__).read_text()))
    assert given == understood
    assert len(given) == 11
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
    with pytest.raises(RunError, match="0 of 3 experts were trained and at least 2 are") as error:
        train_experts(context)
    assert str(error.value).endswith("fix what failed and run again: The machine went away.")
    assert not isinstance(error.value, DivergedError)
    assert {(f.name, f.times, f.cause) for f in context.store.failures()} == {
        (name, 2, "The machine went away.") for name in NAMES
    }
    assert list(train_experts(context).results) == list(NAMES)
    assert context.store.failures() == []


class Loaded:
    """An evaluator with the models that it has loaded, which refers to itself through its parts."""

    def __init__(self):
        self.itself = self

    def build_expert_logprobs(self, indices):
        pass


@pytest.mark.parametrize(("device", "stays"), [("cuda", False), ("cpu", True)])
def test_scoring_leaves_an_accelerator_to_the_next_training(monkeypatch, device, stays):
    opened, seen = [], []

    def open_one(context, names):
        evaluator = Loaded()
        opened.append(weakref.ref(evaluator))
        return evaluator

    monkeypatch.setattr(worker, "open_evaluator", open_one)
    monkeypatch.setattr(worker, "expert_run", lambda *_: None)
    monkeypatch.setattr(worker, "build_run", lambda *_: seen.append(opened[-1]() is not None))
    do = StudyWorker(SimpleNamespace(device=Device(device, torch.float32)))
    do(Job("score_experts", (NAMES, (0,)), "scores"))
    do(Job("train_expert", ("birds",), "an expert", trains=True))
    assert seen == [stays]
    do(Job("score_experts", (NAMES, (0,)), "scores"))
    assert len(opened) == 2 - stays


@pytest.fixture
def recipe(tmp_path):
    return load_study(toy.write_study(tmp_path / "study"))


def test_another_machine_reads_the_same_items(recipe, tmp_path):
    url = f"memory://{tmp_path.name}"
    sent = stage(recipe, RemoteArtifactStore(tmp_path / "a", url))
    assert str(tmp_path) not in json.dumps([b.model_dump(mode="json") for b in sent.benchmarks])
    found = unstage(sent, RemoteArtifactStore(tmp_path / "b", url))
    for before, after in zip(recipe.benchmarks, found.benchmarks, strict=True):
        paths = [b.items if hasattr(b, "items") else b.text.paths[0] for b in (before, after)]
        assert paths[0] != paths[1]
        assert str(tmp_path / "b") in paths[1]
        texts = [Path(path).read_text() for path in paths]
        assert texts[0] == texts[1]
    # training text stays where it is: workers read corpora
    assert found.experts == recipe.experts


def test_of_a_large_heldout_text_its_items_alone_are_sent(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(heldout_text, "LARGE_TOKENS", 1000)
    url = f"memory://{tmp_path.name}"
    sent = stage(recipe, RemoteArtifactStore(tmp_path / "a", url))
    found = unstage(sent, RemoteArtifactStore(tmp_path / "b", url))
    before, after = recipe.benchmarks[0], found.benchmarks[0]
    assert before.kind == "bits_per_byte"
    here, there = (read_item_texts(config) for config in (before, after))
    assert here == there
    assert len(here) == before.max_items
    assert Path(after.text.paths[0]).stat().st_size < 5000


def test_items_of_a_benchmark_whose_name_has_a_colon_are_found(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(heldout_text, "LARGE_TOKENS", 1000)
    first = recipe.benchmarks[0].model_copy(update={"name": "birds:q1"})
    named = recipe.model_copy(update={"benchmarks": [first, *recipe.benchmarks[1:]]})
    url = f"memory://{tmp_path.name}"
    sent = stage(named, RemoteArtifactStore(tmp_path / "a", url))
    (path,) = unstage(sent, RemoteArtifactStore(tmp_path / "b", url)).benchmarks[0].text.paths
    assert Path(path).is_relative_to(tmp_path / "b")
    assert Path(path).is_file()


def test_a_base_and_given_experts_are_sent_whole(recipe, tmp_path):
    for name in ("base", "expert"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "w.bin").write_bytes(name.encode())
    plain = recipe.model_dump(mode="json")
    plain["base"] = {"kind": "pretrained", "path": str(tmp_path / "base")}
    plain["experts"][0]["checkpoint"] = str(tmp_path / "expert")
    told = StudyConfig.model_validate(plain)
    url = f"memory://{tmp_path.name}"
    sent = stage(told, RemoteArtifactStore(tmp_path / "a", url))
    found = unstage(sent, RemoteArtifactStore(tmp_path / "b", url))
    for place, name in ((found.base.path, "base"), (found.experts[0].checkpoint, "expert")):
        with open(f"{place}/deep/w.bin") as stream:
            assert stream.read() == name


def test_a_file_that_is_not_there_is_told(recipe, tmp_path):
    (tmp_path / "study" / "data" / "choice.jsonl").unlink()
    with pytest.raises(DataError, match="does not exist; fix the path"):
        stage(recipe, RemoteArtifactStore(tmp_path / "a", f"memory://{tmp_path.name}"))


def test_a_staged_path_stays_inside_its_unit(recipe, tmp_path):
    plain = recipe.model_dump(mode="json")
    plain["benchmarks"][0]["own_domain"] = None
    plain["benchmarks"][0] = {
        "kind": "continuation", "name": "evil", "items": "unit:x-1/../../etc/passwd",
    }  # fmt: skip
    told = StudyConfig.model_validate(plain)
    found = unstage(told, RemoteArtifactStore(tmp_path / "a", f"memory://{tmp_path.name}"))
    assert found.benchmarks[0].items == "unit:x-1/../../etc/passwd"  # which is no file
