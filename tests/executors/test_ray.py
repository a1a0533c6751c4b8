import pytest
from workers import HireMarker, job

from mixopt.config.executors import RayExecutorConfig as Recipe
from mixopt.errors import UserError
from mixopt.executors.base import WorkerLostError
from mixopt.executors.dispatcher import Dispatcher

ray = pytest.importorskip("ray")

from mixopt.executors import ray as ray_executor  # noqa: E402

NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 4.0}},
    {"Alive": True, "Resources": {"CPU": 3.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(("needs", "places"), [
    ({"num_cpus": 1.0, "num_gpus": 0.0}, 11),
    ({"num_cpus": 2.0, "num_gpus": 1.0}, 4),
    ({"num_cpus": 1.0, "num_gpus": 0.5}, 8),
    ({"num_cpus": 4.0, "num_gpus": 2.0}, 2),
    ({"num_cpus": 16.0, "num_gpus": 0.0}, 0),
])  # fmt: skip
def test_places_are_counted_node_by_node(monkeypatch, needs, places):
    monkeypatch.setattr(ray_executor.ray, "nodes", lambda: NODES)
    assert ray_executor._count_places(needs) == places


def test_a_cluster_without_room_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray_executor.ray, "nodes", lambda: NODES)
    with pytest.raises(UserError, match="No node of the Ray cluster has 100 cores and 0 GPUs free"):
        ray_executor.open_executor(Recipe(cpus=100), HireMarker(tmp_path), tmp_path, [])


def test_an_address_where_nobody_answers_is_told(tmp_path, monkeypatch):
    def nobody(**_):
        raise ConnectionError("could not connect")

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(ray_executor.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_executor.ray, "init", nobody)
    with pytest.raises(
        UserError, match="No Ray cluster answers at 127.0.0.1:1 .*; mend RAY_ADDRESS"
    ):
        ray_executor.open_executor(Recipe(), HireMarker(tmp_path), tmp_path, [])


class Broken:
    """A worker that cannot begin, as on a node that lacks what it needs."""

    def __reduce__(self):
        return _missing, ()


def _missing():
    raise ImportError("No module named 'mixopt'")


@pytest.fixture
def here(monkeypatch):
    import os

    os.makedirs("/tmp/mixopt-ray", exist_ok=True)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/mixopt-ray")
    tests = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False,
             object_store_memory=100_000_000)  # fmt: skip
    yield
    ray.shutdown()


@pytest.mark.slow
def test_more_workers_than_places_neither_wait_for_each_other_nor_begin_for_ever(here, tmp_path):
    needs = {"num_cpus": 1.0, "num_gpus": 0.0}
    crew = Dispatcher(
        lambda: ray_executor.RayExecutorConfig(HireMarker(tmp_path), 3, needs, own=False), 1
    )
    for turn in range(2):  # actors that wait for a place must not take the training's
        assert all(
            error is None for _, error in crew.do([job(f"score {turn} {i}") for i in range(4)])
        )
        ((_, error),) = crew.do([job(f"train {turn}", trains=True)])
        assert error is None
    crew.close()
    broken = Dispatcher(lambda: ray_executor.RayExecutorConfig(Broken(), 1, needs, own=False), 1)
    ((_, error),) = broken.do([job("never")])
    assert isinstance(error, WorkerLostError)
    broken.close()
