"""Run a study on a full disk, on a read-only disk, and over files that are cut or have a flipped bit.

    python studies/robustness/disk.py --out OUT --sizes 24 --jobs 2

It has to be run as root, because it mounts small file systems; `--jobs` trials run at the same time.

Full: the study of the tests runs on a tmpfs of `--sizes` sizes, from nothing to what it needs; then the
disk is enlarged and it runs again. Read-only: it runs on a finished folder that cannot be written, and
on an empty one. Damage: of each kind of file in a finished study, one is cut in half and one has one bit
flipped, and the study runs again. Each trial must end with the results of an undisturbed run, bit for
bit, or with one sentence.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import toy  # noqa: E402

RESULTS = ("proposal.json", "trials.csv", "validation.json", "proxy-runs.csv",
           "exports/mixture.yaml")  # fmt: skip
KEY = re.compile(r"-[0-9a-f]{16}")


def run(study: Path, folder: Path) -> tuple[int, str]:
    """Return the exit code and the last line of the output."""
    command = [sys.executable, "-m", "mixopt", "run", str(study), "-o", str(folder / "out"),
               "--device", "cpu", "--no-track"]  # fmt: skip
    env = {**os.environ, "MIXOPT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1",
           "MPLCONFIGDIR": "/tmp/mixopt-mpl", "TQDM_DISABLE": "1"}  # fmt: skip
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return done.returncode, lines[-1] if lines else ""


def results(folder: Path) -> dict[str, bytes | None]:
    out = folder / "out"
    return {n: (out / n).read_bytes() if (out / n).exists() else None for n in RESULTS}


def mount(place: Path, options: str, *, again: bool = False) -> None:
    place.mkdir(parents=True, exist_ok=True)
    kind = ["-o", f"remount,{options}"] if again else ["-t", "tmpfs", "-o", options, "tmpfs"]
    subprocess.run(["mount", *kind, str(place)], check=True)


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=True)


def is_sentence(code: int, message: str) -> bool:
    return code in (1, 2) and message.startswith("mixopt: ") and "internal error" not in message


def try_full(
    study: Path, out: Path, expected: dict, needed: int, sizes: int, jobs: int
) -> list[dict]:
    def attempt(step: int) -> dict:
        place, size = out / f"small-{step}", max(16 << 10, needed * step // sizes)
        mount(place, f"size={size}")
        try:
            code, message = run(study, place)
            half = [
                p.name
                for p in place.rglob("artifact.json")
                if not (p.parent / "artifact.json").stat().st_size
            ]
            mount(place, f"size={needed * 3}", again=True)
            again, _ = run(study, place)
            row = {"size kB": size >> 10, "code": code, "message": message if code else "",
                   "sentence": code == 0 or is_sentence(code, message), "half": half,
                   "same after": again == 0 and results(place) == expected}  # fmt: skip
        finally:
            unmount(place)
        print(json.dumps(row), flush=True)
        return row

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(attempt, range(1, sizes + 1)))


def try_read_only(study: Path, out: Path, whole: Path) -> list[dict]:
    rows = []
    for name, filled in (("finished", True), ("empty", False)):
        place = out / f"read-only-{name}"
        mount(place, "size=200m")
        try:
            if filled:
                shutil.copytree(whole, place, dirs_exist_ok=True)
            mount(place, "ro", again=True)
            code, message = run(study, place)
            rows.append({"folder": name, "code": code, "message": message,
                         "sentence": is_sentence(code, message)})  # fmt: skip
        finally:
            unmount(place)
        print(json.dumps(rows[-1]), flush=True)
    return rows


def kinds_of_files(whole: Path) -> dict[str, Path]:
    """Return one file of each kind, by its path without keys and names."""
    found: dict[str, Path] = {}
    for path in sorted(whole.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            place = KEY.sub("", str(path.relative_to(whole)))
            parts = place.split("/")
            if "artifacts" in parts or "cache" in parts:
                at = parts.index("artifacts" if "artifacts" in parts else "cache")
                place = "/".join([*parts[: at + 2], "*", *parts[at + 3 :]])
            found.setdefault(place, path.relative_to(whole))
    return found


def try_damage(study: Path, out: Path, whole: Path, expected: dict, jobs: int) -> list[dict]:
    def attempt(trial: tuple[int, str, Path, str]) -> dict:
        number, kind, path, way = trial
        place = out / f"damaged-{number}"
        shutil.copytree(whole, place)
        content = bytearray((place / path).read_bytes())
        if way == "cut":
            content = content[: len(content) // 2]
        elif content:
            content[len(content) // 2] ^= 4
        (place / path).write_bytes(content)
        code, message = run(study, place)
        same = results(place) == expected
        shutil.rmtree(place)
        row = {"kind": kind, "way": way, "code": code, "message": message if code else "",
               "right": same if code == 0 else is_sentence(code, message)}  # fmt: skip
        print(json.dumps(row), flush=True)
        return row

    found = kinds_of_files(whole).items()
    ways = [(kind, path, way) for kind, path in found for way in ("flipped", "cut")]
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(attempt, [(number, *way) for number, way in enumerate(ways)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", choices=["full", "read-only", "damage"])
    args = parser.parse_args()
    study = toy.write_study(args.out / "study", validation={"mixtures": 4, "seeds": 1})
    whole = args.out / "whole"
    assert run(study, whole)[0] == 0
    expected = results(whole)
    needed = sum(path.stat().st_size + 4096 for path in whole.rglob("*") if path.is_file())
    report: dict[str, list[dict]] = {}
    if args.only in (None, "full"):
        report["full"] = try_full(study, args.out, expected, needed, args.sizes, args.jobs)
    if args.only in (None, "read-only"):
        report["read-only"] = try_read_only(study, args.out, whole)
    if args.only in (None, "damage"):
        report["damage"] = try_damage(study, args.out, whole, expected, args.jobs)
    (args.out / f"disk-{args.only or 'all'}.json").write_text(json.dumps(report, indent=1))
    for name, rows in report.items():
        checks = ("sentence", "same after", "right")
        good = [all(row.get(key, True) for key in checks) and not row.get("half") for row in rows]
        print(f"{name}: {sum(good)} of {len(rows)} ended as they should")


if __name__ == "__main__":
    main()
