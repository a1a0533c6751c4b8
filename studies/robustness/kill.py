"""Kills a small study at random moments, lets it go on, and holds the end against an undisturbed run.

    python studies/robustness/kill.py --out OUT --kills 100 --jobs 2

The study is that of the tests: three toy domains, a base, three experts, two rounds, validation, exports
and report. Each trial has a folder and a cache of its own; so many trials run at the same time. Moments
are drawn from the whole run or, with --while-it-works, from the time between its first and last unit.
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
               "--device", "cpu", "--no-track"]  # fmt: skip
    env = {**os.environ, "MIXOPT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=env, start_new_session=True, **quiet)


def finished_units(folder: Path) -> dict[str, int]:
    """When each finished unit was made, by its path."""
    return {str(mark.parent.relative_to(folder)): mark.stat().st_mtime_ns
            for mark in folder.glob("*/**/artifact.json")
            if not any(part.startswith(".") for part in mark.parts)}  # fmt: skip


def begun_units(folder: Path) -> int:
    """Units that were being made: a killed maker leaves a scratch folder behind."""
    return sum(path.is_dir() and path.name.startswith(".") and not path.name.endswith(".begun")
               for kind in (*folder.glob("out/journal/*"), *folder.glob("cache/*"))
               for path in kind.iterdir())  # fmt: skip


def try_once(
    study: Path, folder: Path, moment: float, wanted: dict[str, bytes], *, works: bool
) -> dict:
    """One run that is killed after `moment` seconds, or that long after its first unit, and goes on."""
    run = start(study, folder)
    while works and run.poll() is None and not finished_units(folder):
        time.sleep(0.02)
    try:
        run.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    before, begun = finished_units(folder), begun_units(folder)
    code = start(study, folder).wait()
    after = finished_units(folder)
    found = {name: (folder / "out" / name).read_bytes() for name in wanted} if code == 0 else {}
    return {
        "moment": round(moment, 2),
        "units before": len(before),
        "units begun": begun,
        "units in all": len(after),
        "left behind": begun_units(folder),
        "redone": sum(after.get(name) != made for name, made in before.items()),
        "same": found == wanted,
        "code": code,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--while-it-works", action="store_true")
    told = parser.parse_args()
    study = toy.write_study(told.out / "study", validation={"mixtures": 4, "seeds": 1})
    began = time.monotonic()
    assert start(study, told.out / "whole").wait() == 0
    length = time.monotonic() - began
    made = finished_units(told.out / "whole").values()
    working = (max(made) - min(made)) / 1e9
    wanted = {name: (told.out / "whole" / "out" / name).read_bytes() for name in RESULTS}
    rng = random.Random(told.seed)
    works = told.while_it_works
    moments = [rng.uniform(0, working if works else length) for _ in range(told.kills)]
    trials = []

    def attempt(number: int) -> None:
        folder = told.out / f"trial-{number:03d}"
        found = try_once(study, folder, moments[number], wanted, works=works)
        trials.append(found)
        print(json.dumps(found), flush=True)
        (told.out / "kills.json").write_text(json.dumps(trials, indent=1))
        shutil.rmtree(folder)

    with ThreadPoolExecutor(told.jobs) as pool:
        list(pool.map(attempt, range(told.kills)))
    same = sum(trial["same"] for trial in trials)
    redone = sum(trial["redone"] for trial in trials)
    inside = sum(0 < trial["units before"] < trial["units in all"] for trial in trials)
    begun = max(trial["units begun"] for trial in trials)
    print(
        f"\n{same} of {len(trials)} ended with the same results bit for bit; {redone} finished units "
        f"were made again; at most {begun} unit was in flight; {inside} kills came between the first "
        f"and the last unit; an undisturbed run takes {length:.1f} s and makes "
        f"{trials[-1]['units in all']} units."
    )


if __name__ == "__main__":
    main()
