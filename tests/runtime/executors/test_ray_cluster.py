import pytest
from runtime.executors.workers import HireMarker

from mixopt.errors import UserError
from mixopt.recipe.executors import RayExecutor as Recipe

ray = pytest.importorskip("ray")

from mixopt.runtime.executors import ray_cluster  # noqa: E402

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
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: NODES)
    assert ray_cluster._count_places(needs) == places


def test_a_cluster_without_room_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: NODES)
    with pytest.raises(UserError, match="No node of the Ray cluster has 100 cores and 0 GPUs free"):
        ray_cluster.open_executor(Recipe(cpus=100), HireMarker(tmp_path), tmp_path, [])


def test_an_address_where_nobody_answers_is_told(tmp_path, monkeypatch):
    def nobody(**_):
        raise ConnectionError("could not connect")

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(ray_cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_cluster.ray, "init", nobody)
    with pytest.raises(
        UserError, match="No Ray cluster answers at 127.0.0.1:1 .*; mend RAY_ADDRESS"
    ):
        ray_cluster.open_executor(Recipe(), HireMarker(tmp_path), tmp_path, [])
