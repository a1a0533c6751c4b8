import pytest
import toy

import mixopt
from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.executors import (
    LocalExecutorConfig,
    ProcessesExecutorConfig,
    RayExecutorConfig,
    SlurmExecutorConfig,
)
from mixopt.config.loader import load_study
from mixopt.pipeline.environment import (
    RunEnvironment,
    describe_idle_cards,
    is_launched,
    is_silent,
)


def environment(folder, storage=None):
    return RunEnvironment(folder / "out" / "artifacts", folder / "cache", storage, "cpu", False)


def test_stores_are_remote_where_there_is_storage(tmp_path):
    local = environment(tmp_path)
    assert [type(store) for store in local.open_stores()] == [ArtifactStore, ArtifactStore]
    assert all(store.read_only for store in local.open_stores(read_only=True))
    remote = environment(tmp_path, "memory://x/")
    assert [store.url for store in remote.open_stores()] == [
        "memory://x/artifacts", "memory://x/cache",
    ]  # fmt: skip
    assert all(isinstance(store, RemoteArtifactStore) for store in remote.open_stores())
    for stores in (local.open_stores(), local.open_stores(read_only=True), remote.open_stores()):
        assert [store.is_shared for store in stores] == [False, True]  # studies share corpora


def test_an_empty_url_is_none(tmp_path):
    """As `--storage "$STORE"` is where STORE is not set."""
    study = mixopt.Study(load_study(toy.write_study(tmp_path)), tmp_path / "out", storage="")
    assert study.environment.storage is None


def test_a_machine_without_the_disk_has_folders_of_its_own(tmp_path):
    assert environment(tmp_path).on_another_machine() == environment(tmp_path)
    remote = environment(tmp_path, "memory://x").on_another_machine()
    assert not remote.store.is_relative_to(tmp_path)
    assert remote.storage == "memory://x"
    assert remote == environment(tmp_path / "other", "memory://x").on_another_machine()


def test_only_the_first_process_of_a_launch_reports(monkeypatch):
    assert not is_launched()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert is_launched()
    assert not is_silent()
    monkeypatch.setenv("RANK", "1")
    assert is_silent()


def test_idle_cards_are_told(monkeypatch):
    local, processes = LocalExecutorConfig(), ProcessesExecutorConfig()
    assert describe_idle_cards(local, 0) is describe_idle_cards(local, 1) is None
    assert describe_idle_cards(processes, 8) is None
    assert "8 GPUs, and executor: local uses one" in describe_idle_cards(local, 8)
    for config in (RayExecutorConfig(gpus=0.5), SlurmExecutorConfig(gpus=1)):
        assert describe_idle_cards(config, 0) is None
    for config in (RayExecutorConfig(gpus=4), SlurmExecutorConfig(gpus=4)):
        assert "Each worker has 4 GPUs" in describe_idle_cards(config, 0)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert describe_idle_cards(local, 8) is None


@pytest.mark.parametrize("executor", [RayExecutorConfig, SlurmExecutorConfig])
def test_workers_without_cards_for_a_pretrained_base_are_told(executor):
    warning = describe_idle_cards(executor(), 0, wants_cards=True)
    assert "on CPUs, because executor.gpus is 0 if left out; set executor: {kind: " in warning
    assert ", gpus: 1} in the study" in warning
    assert describe_idle_cards(executor(), 0) is None
    assert describe_idle_cards(executor(gpus=1), 0, wants_cards=True) is None
    for other in (LocalExecutorConfig(), ProcessesExecutorConfig()):
        assert describe_idle_cards(other, 0, wants_cards=True) is None
