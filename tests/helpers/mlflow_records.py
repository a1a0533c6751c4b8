"""Records of a command that was killed, and a check that a store has each of them once."""

from mixopt.callbacks.mlflow.queue import RecordQueue
from mixopt.callbacks.mlflow.sender import FOLDER


def write_records(folder, uri):
    """A queue that a killed command left: a run with a child, of which nothing was sent."""
    queue = RecordQueue.create(folder / FOLDER, {"uri": uri})
    for record in (
        {"do": "run", "run": "p", "id": None, "name": "run", "parent": None, "experiment": "toy",
         "tags": {"a": "b"}, "time": 1000},
        {"do": "batch", "run": "p", "metrics": [["loss", 1.0, 5, 0], ["loss", 0.5, 5, 1]],
         "params": {"x": "1"}, "tags": {}},
        {"do": "data", "run": "p", "name": "web", "digest": "abc"},
        {"do": "text", "run": "p", "text": "hello", "path": "a.txt"},
        {"do": "run", "run": "c", "id": None, "name": "expert", "parent": "p", "experiment": "",
         "tags": {}, "time": 2000},
        {"do": "end", "run": "c", "status": "FINISHED", "time": 3000},
    ):  # fmt: skip
        queue.append(record)
    return queue


def check(client):
    """Everything is there, and each value once."""
    experiment = client.get_experiment_by_name("toy")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"run", "expert"}
    parent, child = runs["run"], runs["expert"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    history = client.get_metric_history(parent.info.run_id, "loss")
    assert sorted((m.step, m.value) for m in history) == [(0, 1.0), (1, 0.5)]
    assert parent.data.params == {"x": "1"}
    assert [d.dataset.name for d in parent.inputs.dataset_inputs] == ["web"]
    assert child.info.status == "FINISHED"
    assert child.info.end_time == 3000
    assert parent.info.start_time == 1000
    return parent
