import pickle

import pytest
import toy

from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import choose_executor, load_study
from mixopt.errors import RunError
from mixopt.executors.base import WorkerLostError
from mixopt.executors.job import Job
from mixopt.pipeline.worker import VERBS, RunEnvironment, Worker, gather_crew, hire


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("working")
    return folder, load_study(toy.write_study(folder / "s"))


def site(folder, storage=None):
    return RunEnvironment(folder / "out" / "journal", folder / "cache", storage, "cpu", False)


@pytest.mark.slow
def test_a_worker_elsewhere_makes_what_the_driver_finds(place, tmp_path, monkeypatch):
    """The worker has neither text nor the driver's folders, but the storage."""
    folder, recipe = place
    recipe = choose_executor(recipe, "ray")
    monkeypatch.setattr("mixopt.pipeline.worker.gettempdir", lambda: str(tmp_path))
    here = site(tmp_path / "driver", f"{tmp_path}/storage")
    lab = here.open_laboratory(recipe)
    with monkeypatch.context() as hurried:
        hurried.setattr("mixopt.training.training_run.SEEN_AFTER_S", 0.2)
        with pytest.raises(RunError, match="No worker has made 'base' as it was asked for"):
            _ = lab.base
    lab = here.open_laboratory(recipe)
    from mixopt.pipeline.input_staging import stage

    sent = pickle.dumps((here.on_another_machine(), stage(recipe, lab.store), lab.hand()))
    away, staged, handed = pickle.loads(sent)
    assert str(tmp_path / "driver") not in str(away.journal)
    data = folder / "s" / "data"
    data.rename(folder / "s" / "gone")
    try:
        worker = hire(away, staged, handed)
        names = tuple(recipe.domains)
        worker(Job("train_base", (), "the base"))
        for name in names:
            worker(Job("train_expert", (name,), name))
        worker(Job("describe", (names,), "facts"))
        worker(Job("score", (names, [(0.2, 0.3, 0.5)]), "a candidate"))
    finally:
        (folder / "s" / "gone").rename(data)
    assert lab.base is not None
    folders = [lab.train_expert(name).folder for name in names]
    assert all(str(path).startswith(str(tmp_path / "driver")) for path in folders)
    swarm = lab.open_swarm(folders, names)
    assert swarm.book.find((0.2, 0.3, 0.5)) is not None
    assert swarm.facts.tokens > 0
    assert "engine" not in vars(swarm)


def test_journals_are_mirrored_where_there_is_storage(tmp_path):
    assert [type(each) for each in site(tmp_path).open_journals()] == [ArtifactStore, ArtifactStore]
    urls = [each.url for each in site(tmp_path, "memory://x/").open_journals()]
    assert urls == ["memory://x/journal", "memory://x/cache"]
    assert isinstance(site(tmp_path, "memory://x").open_journals()[0], RemoteArtifactStore)
    assert site(tmp_path).on_another_machine() == site(tmp_path)


def test_the_device_is_that_of_the_workers(place, tmp_path):
    _, recipe = place
    plain = recipe.model_dump(mode="json")
    for executor, device, devices in (
        ({"kind": "ray", "gpus": 2}, "cuda", 2), ({"kind": "ray", "gpus": 0.5}, "cuda", 1),
        ("slurm", "cpu", 1), ("processes", "cpu", 1), ("local", "cpu", None),
    ):  # fmt: skip
        told = type(recipe).model_validate(plain | {"executor": executor})
        where = RunEnvironment(tmp_path / "j", tmp_path / "c", None, "auto", False)
        lab = where.open_laboratory(told)
        assert (lab.device.name, lab.workshop.devices) == (device, devices)


def test_a_worker_that_was_lost_is_written_down_until_it_is_made_up_for(place, tmp_path):
    _, recipe = place
    here = site(tmp_path)
    crew = gather_crew(here, recipe, here.open_laboratory(recipe))
    job = Job("train_base", (), "the base")
    journal = ArtifactStore(here.journal)
    crew._ended(job, WorkerLostError("The machine went away."))
    crew._ended(job, WorkerLostError("The machine went away."))
    (failure,) = journal.failures()
    assert (failure.kind, failure.name, failure.times) == ("jobs", "the base", 2)
    other = Job("score", ((), [(1.0,)]), "the base")
    crew._ended(other, None)  # of the same name, and another
    assert len(journal.failures()) == 1
    crew._ended(job, None)
    assert journal.failures() == []


def test_every_verb_has_its_worker():
    assert set(VERBS.values()) == {
        value
        for name, value in vars(Worker).items()
        if name in {v.__name__ for v in VERBS.values()}
    }
