"""An MLflow server that goes away for the middle third of a run: what is there in the end.

    python studies/robustness/tracking.py --out OUT

The study of the tests runs twice with a server of its own each time: once undisturbed, once with the
server killed (SIGKILL) after a third of the length and started again on the same database after two
thirds. What still waits is sent by `mixopt sync`. Runs, parameters, values of every metric with their
steps, datasets and artifacts are held against the undisturbed run, each with how often it is there.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import toy  # noqa: E402
from server import Server  # noqa: E402

OWN_TIMES = ("time", "elapsed")
"""Parts of metrics' names that say how long something took."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "mixopt.cli", *words]


def run(study: Path, folder: Path, server: Server, stop: tuple[float, float] | None) -> float:
    """Seconds of a tracked run; the server is away from `stop[0]` to `stop[1]`."""
    env = {**os.environ, "MIXOPT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1",
           "MLFLOW_TRACKING_URI": server.uri}  # fmt: skip
    began = time.monotonic()
    with (folder / "log").open("w") as log:
        going = subprocess.Popen(
            command("run", str(study), "-o", str(folder / "out"), "--device", "cpu"),
            env=env, stdout=log, stderr=log,
        )  # fmt: skip
        if stop is not None:
            time.sleep(stop[0])
            server.stop()
            time.sleep(max(0.0, stop[1] - (time.monotonic() - began)))
            server.start()
        assert going.wait() == 0, (folder / "log").read_text()[-2000:]
    took = time.monotonic() - began
    sync = command("sync", str(folder / "out"))
    synced = subprocess.run(sync, env=env, capture_output=True, text=True, check=True)
    print(synced.stdout.strip(), flush=True)
    return took


def gather(server: Server) -> dict[str, Counter]:
    """Everything that the server knows, each value with how often it stands there."""
    import mlflow

    client = mlflow.MlflowClient(server.uri)
    found: dict[str, Counter] = {name: Counter() for name in
                                 ("runs", "params", "values", "datasets", "artifacts")}  # fmt: skip
    experiments = [e.experiment_id for e in client.search_experiments() if e.name == "toy"]
    for each in client.search_runs(experiments, max_results=1000):
        name = each.info.run_name
        found["runs"][name, each.info.status] += 1
        found["params"].update((name, *item) for item in each.data.params.items())
        for metric in each.data.metrics:
            if not any(word in metric for word in OWN_TIMES):
                history = client.get_metric_history(each.info.run_id, metric)
                found["values"].update((name, metric, m.step, m.value) for m in history)
        found["datasets"].update((name, d.dataset.name) for d in each.inputs.dataset_inputs)
        pending = [""]
        while pending:
            for file in client.list_artifacts(each.info.run_id, pending.pop()):
                if file.is_dir:
                    pending.append(file.path)
                else:
                    found["artifacts"][name, file.path] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    study = toy.write_study(told.out / "study", validation={"mixtures": 4, "seeds": 1})
    known, took = {}, 0.0
    for name in ("undisturbed", "interrupted"):
        folder = told.out / name
        folder.mkdir(parents=True, exist_ok=True)
        server = Server(folder, free_port())
        server.start()
        try:
            stop = None if name == "undisturbed" else (took / 3, 2 * took / 3)
            took = run(study, folder, server, stop)
            known[name] = gather(server)
        finally:
            server.stop()
    report = {"seconds of the interrupted run": round(took, 1)}
    for what, wanted in known["undisturbed"].items():
        found = known["interrupted"][what]
        report[what] = {"wanted": sum(wanted.values()), "there": sum((wanted & found).values()),
                        "lacking": len(wanted - found), "too many": len(found - wanted)}  # fmt: skip
    (told.out / "tracking.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
