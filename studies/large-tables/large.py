"""Time and memory of proposals from large tables, and of a move in their report.

    python studies/large-tables/large.py --out OUT --before CHECKOUT

Each case runs in a process of its own, first with the mixopt of `--before` (a checkout of another
version; left out where none is given) and then with this one. CPU seconds of one thread.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
CASES = {
    "2000 x 10 x 5": (2000, 10, 5), "400 x 200 x 5": (400, 200, 5), "400 x 300 x 5": (400, 300, 5),
    "2048 x 17 x 4": (2048, 17, 4), "512 x 64 x 110": (512, 64, 110), "10000 x 17 x 4": (10_000, 17, 4),
    "24 x 17 x 13": (24, 17, 13),
}  # fmt: skip
"""Runs, domains, metrics."""
TURNS = 5
BEFORE = (
    "2000 x 10 x 5", "2048 x 17 x 4", "400 x 200 x 5", "24 x 17 x 13", "512 x 64 x 110",
)  # fmt: skip
"""Cases that the other version ends in a few minutes."""
FLAGS = ["--no-sandbox", "--disable-gpu"]
MOVE = """
const input = document.getElementById("ratio-3");
const times = [];
for (const share of [0.1, 0.2, 0.15, 0.3, 0.25]) {
  input.value = share;
  const start = performance.now();
  input.dispatchEvent(new Event("input"));
  times.push(performance.now() - start);
}
return times.sort((a, b) => a - b)[2];
"""


def table(n: int, d: int, m: int):  # noqa: ANN201 - of the version that is imported
    """Draw runs from a law in effective tokens."""
    import numpy as np

    from mixopt import Trials

    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.full(d, max(0.1, min(1, 10 / d))), n)
    worth = np.exp(1.2 * rng.normal(size=(m, d)))
    losses = 2 + (worth @ (ratios.T**0.8) + 0.05).T ** -0.3 + 0.02 * rng.normal(size=(n, m))
    return Trials.from_arrays(
        ratios, losses, domains=[f"d{i}" for i in range(d)],
        metrics={f"m{i}": "lower" for i in range(m)},
    )  # fmt: skip


def measure(n: int, d: int, m: int) -> dict[str, float]:
    """Fit and propose once in this process."""
    from mixopt import Mixture, SearchSpace, fit, propose

    trials = table(n, d, m)
    start = time.process_time()
    surrogate = fit(trials, seed=0)
    middle = time.process_time()
    natural = Mixture.from_vector(trials.domains, trials.ratios().mean(0))
    best = propose(surrogate, SearchSpace(trials.domains, prior=natural), seed=0)[0]
    end = time.process_time()
    trials.to_frame()
    last = time.process_time()
    return {
        "fit_s": middle - start, "propose_s": end - middle, "frame_s": last - end,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "utility": best.utility.mean,
    }  # fmt: skip


def command(folder: Path, sides: dict[str, Path], n: int = 24, d: int = 17, m: int = 13) -> None:
    """Run `mixopt propose` on one file in turns, and print the CPU seconds of each side."""
    file, seconds = folder / "runs.csv", {side: [] for side in sides}
    table(n, d, m).to_frame().to_csv(file, index=False)
    for turn in range(1 + TURNS):
        for side, checkout in sides.items():
            environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, "-m", "mixopt", "propose", "--runs", str(file), "--better", "lower"],
                env=environment, capture_output=True, check=True, cwd=folder,
            )  # fmt: skip
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if turn:  # the first reads files from disk
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                seconds[side].append(cpu)
            (folder / f"{side}.txt").write_bytes(done.stdout)
    for side, found in seconds.items():
        ratios = sorted(a / b for a, b in zip(found, seconds[next(iter(sides))], strict=True))
        middle, low, high = ratios[TURNS // 2], ratios[0], ratios[-1]
        print(f"propose {n} x {d} x {m} {side}: {sorted(found)[TURNS // 2]:.2f} CPU-s", end=", ")
        print(f"of the first side's {middle:.2f} [{low:.2f}, {high:.2f}]", flush=True)
    same = len({(folder / f"{side}.txt").read_bytes() for side in sides}) == 1
    print("the same answer" if same else "the answers differ", flush=True)


def frame(n: int = 10_000, d: int = 64) -> dict[str, float]:
    """Write the data frame of a table."""
    trials = table(n, d, 4)
    start = time.process_time()
    trials.to_frame()
    return {"frame_s": time.process_time() - start}


def page(folder: str, d: int = 200) -> dict[str, float]:
    """Write the report of a table with many domains."""
    from mixopt import Mixture, SearchSpace, fit, propose
    from mixopt.report.build import table_report_data
    from mixopt.report.page import write_report

    trials = table(60, d, 4)
    surrogate = fit(trials, surrogates=["ridge_root"], seed=0)
    space = SearchSpace(trials.domains, prior=Mixture.uniform(trials.domains))
    proposals = propose(surrogate, space, seed=0)
    data = table_report_data("wide", surrogate, proposals, space, table="wide", seed="0")
    write_report(data, Path(folder))
    return {}


def move(path: Path) -> dict[str, float]:
    """Move a slider in Chromium: time in the handler, and until all pictures are drawn."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        opened = browser.new_page()
        opened.goto(path.as_uri())
        opened.wait_for_timeout(3000)
        median = opened.evaluate(f"() => {{ {MOVE} }}")
        browser.close()
    return {"move_ms": median}


def run(checkout: Path, *arguments: str) -> dict[str, float]:
    """Run a part in a process with the mixopt of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--part", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("mixopt-runs/large-tables"))
    parser.add_argument("--before", type=Path)
    parser.add_argument("--only", nargs="*", default=[*CASES, "frame", "move", "command"])
    parser.add_argument("--part", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        kind, *rest = args.part
        parts = {
            "fit": lambda: measure(*map(int, rest)),
            "frame": frame,
            "page": lambda: page(*rest),
        }
        print(json.dumps(parts[kind]()))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        if name == "command":
            command(args.out, {"before": args.before or HERE, "now": HERE})
            continue
        for side, checkout in (("before", args.before), ("now", HERE)):
            if checkout is None or (side == "before" and name in CASES and name not in BEFORE):
                continue
            if name == "move":
                with tempfile.TemporaryDirectory() as folder:
                    run(checkout, "page", folder)
                    found = move(Path(folder) / "report.html")
            elif name == "frame":
                found = run(checkout, "frame")
            else:
                found = run(checkout, "fit", *map(str, CASES[name]))
            print(name, side, {key: round(value, 3) for key, value in found.items()}, flush=True)
            with (args.out / "large.jsonl").open("a") as lines:
                lines.write(json.dumps({"case": name, "side": side, **found}) + "\n")


if __name__ == "__main__":
    main()
