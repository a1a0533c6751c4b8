"""Stop an MLflow server during the middle third of a run, and count what it holds in the end.

    python studies/robustness/tracking.py --out OUT

The study of the tests runs twice, with its own server each time: once undisturbed, once with the server
killed (SIGKILL) after a third of the duration and started again on the same database after two thirds.
`mixopt sync` sends what is still waiting. Runs, parameters, values of every metric with their steps,
datasets and artifacts are compared with the undisturbed run, each with its number of occurrences.
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
"""Parts of the names of metrics that measure time."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "mixopt", *words]


def run(study: Path, folder: Path, server: Server, stop: tuple[float, float] | None) -> float:
    """Return the seconds of a tracked run; the server is down from `stop[0]` to `stop[1]`."""
    env = {**os.environ, "MIXOPT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1",
           "MLFLOW_TRACKING_URI": server.uri}  # fmt: skip
    began = time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command("run", str(study), "-o", str(folder / "out"), "--device", "cpu"),
            env=env, stdout=log, stderr=log,
        )  # fmt: skip
        if stop is not None:
            time.sleep(stop[0])
            server.stop()
            time.sleep(max(0.0, stop[1] - (time.monotonic() - began)))
            server.start()
        assert process.wait() == 0, (folder / "log").read_text()[-2000:]
    took = time.monotonic() - began
    sync = command("sync", str(folder / "out"))
    synced = subprocess.run(sync, env=env, capture_output=True, text=True, check=True)
    print(synced.stdout.strip(), flush=True)
    return took


def gather(server: Server) -> dict[str, Counter]:
    """Return what the server holds, each value with its number of occurrences."""
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
    args = parser.parse_args()
    study = toy.write_study(args.out / "study", validation={"mixtures": 4, "seeds": 1})
    held, took = {}, 0.0
    for name in ("undisturbed", "interrupted"):
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        server = Server(folder, free_port())
        server.start()
        try:
            stop = None if name == "undisturbed" else (took / 3, 2 * took / 3)
            took = run(study, folder, server, stop)
            held[name] = gather(server)
        finally:
            server.stop()
    report = {"seconds of the interrupted run": round(took, 1)}
    for what, expected in held["undisturbed"].items():
        found = held["interrupted"][what]
        report[what] = {
            "expected": sum(expected.values()), "present": sum((expected & found).values()),
            "missing": len(expected - found), "duplicate or different": len(found - expected),
        }  # fmt: skip
    (args.out / "tracking.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
