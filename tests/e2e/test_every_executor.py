"""The same study by every executor: the same results to the last digit, also when machines go away."""

import os
import threading

import pytest
import toy

from mixopt.study import Study

RESULTS = ("proposal.json", "trials.csv", "validation.json", "proxy-runs.csv")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The results of the study, done by one process."""
    folder = tmp_path_factory.mktemp("executors")
    path = toy.write_study(folder / "study", validation={"mixtures": 4, "seeds": 1})
    run(path, folder / "local", folder / "cache")
    return path, read(folder / "local")


def run(path, output, cache, **rest):
    Study.load(path, output, cache=cache, device="cpu", **rest).run()


def read(output):
    return {name: (output / name).read_bytes() for name in RESULTS}


@pytest.mark.slow
def test_processes_give_the_same(wanted, tmp_path):
    path, results = wanted
    run(path, tmp_path / "out", tmp_path / "cache", executor="processes")
    assert read(tmp_path / "out") == results


@pytest.mark.slow
def test_another_machine_goes_on_where_the_drivers_was_lost(wanted, tmp_path, monkeypatch):
    """All that is left is the storage: nothing is trained, scored or fitted again."""
    path, results = wanted
    storage = str(tmp_path / "storage")
    run(path, tmp_path / "out", tmp_path / "cache", storage=storage)
    assert read(tmp_path / "out") == results
    for name in ("mixopt.training.trainer.train", "mixopt.pipeline.proxy_trust.fit",
                 "mixopt.pipeline.propose.search_mixtures", "mixopt.data.corpus.tokenize",
                 "mixopt.evaluation.scorer.Scorer.logprobs"):  # fmt: skip
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("made again"))
    run(path, tmp_path / "elsewhere", tmp_path / "other cache", storage=storage)
    assert read(tmp_path / "elsewhere") == results


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_gives_the_same(wanted, tmp_path, monkeypatch):
    """Two nodes that share no disk with the driver but a storage URL; one is killed while it scores."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # short, as paths of sockets must be; of this process alone, or its clusters would join others'
    folder = f"/tmp/mixopt-ray-{os.getpid()}"
    os.makedirs(folder, exist_ok=True)
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "workers"))  # where workers keep their copies
    (tmp_path / "workers").mkdir()
    path, results = wanted
    memory = {"object_store_memory": 100_000_000}
    # a lost node is noticed within seconds; a slow one has Ray's own 10 s to answer
    health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500,
              "health_check_failure_threshold": 2}  # fmt: skip
    head = {"num_cpus": 1, "_system_config": health, **memory}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    node = cluster.add_node(num_cpus=1, **memory)
    ray.init(address=cluster.address, log_to_driver=False)
    storage = tmp_path / "storage"
    killed, ended = threading.Event(), threading.Event()

    def kill():
        while not list((storage / "artifacts" / "scores").glob("*/artifact.json")):
            if ended.wait(0.1):
                return
        cluster.remove_node(node, allow_graceful=False)
        killed.set()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        run(path, tmp_path / "out", tmp_path / "cache", executor="ray", storage=str(storage))
    finally:
        ended.set()
        killer.join(300)
        ray.shutdown()
        cluster.shutdown()
    assert killed.is_set()
    assert read(tmp_path / "out") == results
