"""A full disk, a read-only one, and files that are cut or flipped: what a study makes of each.

    python studies/robustness/disk.py --out OUT --sizes 24 --jobs 2

It has to be run as root, because it mounts small file systems; so many trials run at the same time.

Full: the study of the tests runs on a tmpfs of so many sizes, from nothing to what it needs; then
the disk is made larger and it runs again. Read-only: on a finished folder that cannot be written,
and on an empty one. Damaged: of each kind of file in a finished study, one is cut in half and one
has one bit flipped, and the study runs again. Each must end with the results of an undisturbed run, bit
for bit, or with one sentence.
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
    """The exit code, and the last line of what was said."""
    command = [sys.executable, "-m", "mixopt.cli", "run", str(study), "-o", str(folder / "out"),
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


def is_sentence(code: int, told: str) -> bool:
    return code in (1, 2) and told.startswith("mixopt: ") and "internal error" not in told


def try_full(
    study: Path, out: Path, wanted: dict, needed: int, sizes: int, jobs: int
) -> list[dict]:
    def attempt(step: int) -> dict:
        place, size = out / f"small-{step}", max(16 << 10, needed * step // sizes)
        mount(place, f"size={size}")
        try:
            code, told = run(study, place)
            half = [
                p.name
                for p in place.rglob("artifact.json")
                if not (p.parent / "artifact.json").stat().st_size
            ]
            mount(place, f"size={needed * 3}", again=True)
            again, _ = run(study, place)
            row = {"size kB": size >> 10, "code": code, "told": told if code else "",
                   "sentence": code == 0 or is_sentence(code, told), "half": half,
                   "same after": again == 0 and results(place) == wanted}  # fmt: skip
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
            code, told = run(study, place)
            rows.append({"folder": name, "code": code, "told": told,
                         "sentence": is_sentence(code, told)})  # fmt: skip
        finally:
            unmount(place)
        print(json.dumps(rows[-1]), flush=True)
    return rows


def kinds_of_files(whole: Path) -> dict[str, Path]:
    """One file for each kind, by its place with keys and numbers left out."""
    found: dict[str, Path] = {}
    for path in sorted(whole.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            place = KEY.sub("", str(path.relative_to(whole)))
            parts = place.split("/")
            if "journal" in parts or "cache" in parts:
                at = parts.index("journal") if "journal" in parts else parts.index("cache")
                place = "/".join([*parts[: at + 2], "*", *parts[at + 3 :]])
            found.setdefault(place, path.relative_to(whole))
    return found


def try_damage(study: Path, out: Path, whole: Path, wanted: dict, jobs: int) -> list[dict]:
    def attempt(asked: tuple[int, str, Path, str]) -> dict:
        number, kind, path, way = asked
        place = out / f"damaged-{number}"
        shutil.copytree(whole, place)
        content = bytearray((place / path).read_bytes())
        if way == "cut":
            content = content[: len(content) // 2]
        elif content:
            content[len(content) // 2] ^= 4
        (place / path).write_bytes(content)
        code, told = run(study, place)
        same = results(place) == wanted
        shutil.rmtree(place)
        row = {"kind": kind, "way": way, "code": code, "told": told if code else "",
               "right": same if code == 0 else is_sentence(code, told)}  # fmt: skip
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
    told = parser.parse_args()
    study = toy.write_study(told.out / "study", validation={"mixtures": 4, "seeds": 1})
    whole = told.out / "whole"
    assert run(study, whole)[0] == 0
    wanted = results(whole)
    needed = sum(path.stat().st_size + 4096 for path in whole.rglob("*") if path.is_file())
    report: dict[str, list[dict]] = {}
    if told.only in (None, "full"):
        report["full"] = try_full(study, told.out, wanted, needed, told.sizes, told.jobs)
    if told.only in (None, "read-only"):
        report["read-only"] = try_read_only(study, told.out, whole)
    if told.only in (None, "damage"):
        report["damage"] = try_damage(study, told.out, whole, wanted, told.jobs)
    (told.out / f"disk-{told.only or 'all'}.json").write_text(json.dumps(report, indent=1))
    for name, rows in report.items():
        asked = ("sentence", "same after", "right")
        good = [all(row.get(key, True) for key in asked) and not row.get("half") for row in rows]
        print(f"{name}: {sum(good)} of {len(rows)} ended as they should")


if __name__ == "__main__":
    main()
