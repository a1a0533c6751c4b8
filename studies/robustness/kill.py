"""Kill a small study at random moments, run it again, and compare its results with an undisturbed run.

    python studies/robustness/kill.py --out OUT --kills 100 --jobs 2

The study is that of the tests: three toy domains, a base, three experts, two rounds, validation, exports
and report. Each trial has its own folder and cache; `--jobs` trials run at the same time. Moments are
drawn from the whole run or, with `--while-it-works`, from the time between its first and last artifact;
`--first 12` draws from the first 12 seconds. Runs are tracked in a database in the trial's folder, which
is empty at first.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import toy  # noqa: E402

RESULTS = ("proposal.json", "trials.csv", "validation.json", "proxy-runs.csv",
           "exports/mixture.yaml")  # fmt: skip


def start(study: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "mixopt.cli", "run", str(study), "-o", str(folder / "out"),
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


def unfinished_artifacts(folder: Path) -> int:
    """Return the number of scratch folders: a killed build leaves one behind."""
    return sum(path.is_dir() and path.name.startswith(".") and not path.name.endswith(".begun")
               for kind in (*folder.glob("out/artifacts/*"), *folder.glob("cache/*"))
               for path in kind.iterdir())  # fmt: skip


def try_once(
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
    after = finished_artifacts(folder)
    results = {n: (folder / "out" / n).read_bytes() for n in expected} if code == 0 else {}
    waiting = sum(1 for _ in (folder / "out").glob("mlflow-spool/*.jsonl"))
    return {
        "moment": round(moment, 2),
        "artifacts before": len(before),
        "unfinished": unfinished,
        "artifacts in all": len(after),
        "left behind": unfinished_artifacts(folder),
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
    args = parser.parse_args()
    study = toy.write_study(args.out / "study", validation={"mixtures": 4, "seeds": 1})
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
    unfinished = max(trial["unfinished"] for trial in trials)
    print(
        f"\n{same} of {len(trials)} ended with the same results bit for bit; {rebuilt} finished "
        f"artifacts were built again; at most {unfinished} were unfinished at a kill; {inside} kills "
        f"came between the first and the last artifact; an undisturbed run takes {length:.1f} s and "
        f"builds {trials[-1]['artifacts in all']} artifacts; "
        f"{sum(trial['queues left'] for trial in trials)} queues of records were left."
    )


if __name__ == "__main__":
    main()
