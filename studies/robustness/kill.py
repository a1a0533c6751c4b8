"""Kill a small study at random moments, run it again, and compare its results with an undisturbed run.

    python studies/robustness/kill.py --out OUT --kills 100 --jobs 2
    python studies/robustness/kill.py --out OUT --kills 40 --workers --while-it-works

The study is that of the tests: three toy domains, a base, three experts, two rounds, validation, exports
and report. Each trial has its own folder and cache; `--jobs` trials run at the same time. Moments are
drawn from the whole run or, with `--while-it-works`, from the time between its first and last artifact;
`--first 12` draws from the first 12 seconds. Runs are tracked in a database in the trial's folder, which
is empty at first. With `--workers` two processes do the work, and one of them is killed while its
driver lives: the driver is to end well with the same results, without a second start.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import toy  # noqa: E402

RESULTS = ("proposal.json", "trials.csv", "validation.json", "proxy-runs.csv",
           "exports/mixture.yaml")  # fmt: skip


def start(study: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "mixopt", "run", str(study), "-o", str(folder / "out"),
               "--device", "cpu"]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "MIXOPT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1",
           "MLFLOW_TRACKING_URI": f"sqlite:///{(folder / 'mlflow.db').absolute()}"}  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=env, start_new_session=True, **quiet)


def finished_artifacts(folder: Path) -> dict[str, int]:
    """Return when each finished artifact was built, by its path."""
    return {str(mark.parent.relative_to(folder)): mark.stat().st_mtime_ns
            for mark in folder.glob("*/**/artifact.json")
            if not any(part.startswith(".") for part in mark.parts)}  # fmt: skip


def unfinished_artifacts(folder: Path) -> list[str]:
    """Return the kinds of the scratch folders: a killed build leaves one behind."""
    kinds = (*folder.glob("out/artifacts/*"), *folder.glob("cache/*"))
    return [
        kind.name
        for kind in kinds
        for path in kind.iterdir()
        if path.is_dir() and path.name.startswith(".") and not path.name.endswith(".begun")
    ]


def kill_worker(driver: int, rng: random.Random) -> int:
    """Kill one of the driver's worker processes, if there is one, and return how many were killed."""
    workers = [child for child in psutil.Process(driver).children(recursive=True)
               if "spawn_main" in " ".join(child.cmdline())]  # fmt: skip
    if not workers:
        return 0
    rng.choice(workers).kill()
    return 1


def try_worker(
    study: Path, folder: Path, moment: float, expected: dict[str, bytes], *, working: bool
) -> dict:
    """Kill a worker after `moment` seconds, or as long after the first artifact; its run goes on."""
    run = start(study, folder)
    while working and run.poll() is None and not finished_artifacts(folder):
        time.sleep(0.02)
    killed, unfinished = 0, []
    try:
        run.wait(moment)
    except subprocess.TimeoutExpired:
        unfinished = unfinished_artifacts(folder)
        killed = kill_worker(run.pid, random.Random(moment))
    before = finished_artifacts(folder)
    return compare(folder, expected, moment, before, unfinished, run.wait()) | {"killed": killed}


def try_driver(
    study: Path, folder: Path, moment: float, expected: dict[str, bytes], *, working: bool
) -> dict:
    """Kill a run after `moment` seconds, or as long after its first artifact, and run it again."""
    run = start(study, folder)
    while working and run.poll() is None and not finished_artifacts(folder):
        time.sleep(0.02)
    try:
        run.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    before, unfinished = finished_artifacts(folder), unfinished_artifacts(folder)
    code = start(study, folder).wait()
    return compare(folder, expected, moment, before, unfinished, code) | {"killed": 1}


def compare(
    folder: Path,
    expected: dict[str, bytes],
    moment: float,
    before: dict[str, int],
    unfinished: list[str],
    code: int,
) -> dict:
    after = finished_artifacts(folder)
    results = {n: (folder / "out" / n).read_bytes() for n in expected} if code == 0 else {}
    waiting = sum(1 for _ in (folder / "out").glob("mlflow-spool/*.jsonl"))
    return {
        "moment": round(moment, 2),
        "artifacts before": len(before),
        "unfinished": unfinished,
        "artifacts in all": len(after),
        "left behind": len(unfinished_artifacts(folder)),
        "rebuilt": sum(after.get(name) != built for name, built in before.items()),
        "same": results == expected,
        "queues left": waiting,
        "code": code,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--while-it-works", action="store_true")
    parser.add_argument(
        "--first", type=float, help="seconds of the run that moments are drawn from"
    )
    parser.add_argument("--workers", action="store_true", help="kill a worker, not its driver")
    args = parser.parse_args()
    changes = {"executor": {"kind": "processes", "workers": 2}} if args.workers else {}
    study = toy.write_study(args.out / "study", validation={"mixtures": 4, "seeds": 1}, **changes)
    try_once = try_worker if args.workers else try_driver
    whole = args.out / "whole"
    began = time.monotonic()
    assert start(study, whole).wait() == 0
    length = time.monotonic() - began
    built = finished_artifacts(whole).values()
    expected = {name: (whole / "out" / name).read_bytes() for name in RESULTS}
    rng, working = random.Random(args.seed), args.while_it_works
    longest = args.first or ((max(built) - min(built)) / 1e9 if working else length)
    moments = [rng.uniform(0, longest) for _ in range(args.kills)]
    trials = []

    def attempt(number: int) -> None:
        folder = args.out / f"trial-{number:03d}"
        trial = try_once(study, folder, moments[number], expected, working=working)
        trials.append(trial)
        print(json.dumps(trial), flush=True)
        (args.out / "kills.json").write_text(json.dumps(trials, indent=1))
        shutil.rmtree(folder)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(attempt, range(args.kills)))
    same = sum(trial["same"] for trial in trials)
    rebuilt = sum(trial["rebuilt"] for trial in trials)
    inside = sum(0 < trial["artifacts before"] < trial["artifacts in all"] for trial in trials)
    unfinished = max(len(trial["unfinished"]) for trial in trials)
    killed = sum(trial["killed"] for trial in trials)
    phases = Counter(kind for trial in trials for kind in set(trial["unfinished"]))
    print(
        f"\n{killed} of {len(trials)} were killed, {same} ended with the same results bit for bit; "
        f"{rebuilt} finished artifacts were built again; at most {unfinished} were in flight at a kill "
        f"(kills by kind: {dict(phases)}); {inside} kills came between the first and the last "
        f"artifact; an undisturbed run takes {length:.1f} s and builds "
        f"{trials[-1]['artifacts in all']} artifacts; "
        f"{sum(trial['queues left'] for trial in trials)} queues of records were left."
    )


if __name__ == "__main__":
    main()
