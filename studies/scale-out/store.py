"""Cost of finding artifacts among many, and of hashing large files again.

    python studies/scale-out/store.py --out OUT

A store has 200 folders, then 20,000: the scores of 200 candidates on 8 benchmarks of 200 items by both
proxies, and empty folders of the names that others would have. The candidates are looked up by
`ArtifactStore.find`, the first time (every file is compared with its manifest) and again, and by
`ScoreCache.missing` after a ninth benchmark was added, which lists the folders once. `hash_content`
reads four files of 50 MB, and then remembers them. Times are CPU time of the process, system included.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mixopt.artifacts.artifact import seal
from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation.score_cache import CandidateScores, Row, ScoreCache
from mixopt.evaluation.tasks.base import ItemResults
from mixopt.io.content_hash import SETTLED_S, hash_content

SIZES, CANDIDATES, K = (200, 20_000), 200, 8
BENCHMARKS = {f"bench-{index}": str(index) for index in range(8)}
ITEMS = 200
FILES, FILE_BYTES = 4, 50_000_000


def cache_of(folder: Path, benchmarks: dict[str, str]) -> ScoreCache:
    return ScoreCache(ArtifactStore(folder), "scores", {"base": "b"}, benchmarks)


def fill(folder: Path, rows: list[Row], others: list[Row]) -> None:
    """Write the artifacts of candidates without the locks of a build, and the folders of others."""
    cache, rng = cache_of(folder, BENCHMARKS), np.random.default_rng(0)
    results = {name: ItemResults(rng.random(ITEMS), np.ones(ITEMS)) for name in BENCHMARKS}
    scores = CandidateScores({"merged": results, "ensembled": dict(results)})
    for row in rows:
        artifact = cache.artifact(row)
        place = cache.store.path(artifact)
        place.mkdir(parents=True)
        scores.save(place)
        seal(place, artifact.full_key, 1.0, artifact.reference)
    for row in others:
        cache.store.path(cache.artifact(row)).mkdir()


def clock(run: Callable, *args: object) -> float:
    start = time.process_time()
    run(*args)
    return time.process_time() - start


def in_ms(seconds: list[float]) -> str:
    low, middle, high = 1e3 * np.quantile(seconds, (0.25, 0.5, 0.75))
    return f"{middle:.2f} ms [{low:.2f}, {high:.2f}]"


def look_up(folder: Path, rows: list[Row]) -> dict[str, str]:
    cache = cache_of(folder, BENCHMARKS)
    artifacts = [cache.artifact(row) for row in rows]
    found = {
        "find, the first time": in_ms([clock(cache.store.find, a) for a in artifacts]),
        "find, again": in_ms([clock(cache.store.find, a) for a in artifacts]),
    }
    assert all(cache.store.find(a) is not None for a in artifacts)
    more = cache_of(folder, BENCHMARKS | {"added": "new"})
    found["missing, the listing"] = in_ms([clock(lambda: more._folders)])
    found["missing, a candidate"] = in_ms([clock(more.missing, row) for row in rows])
    assert all(more.missing(row) == ("added",) for row in rows)
    return found


def hash_files(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    files = [folder / str(index) for index in range(FILES)]
    for file in files:
        file.write_bytes(os.urandom(FILE_BYTES))
    time.sleep(SETTLED_S + 0.5)  # younger files are not remembered
    return {f"hash_content of {FILES * FILE_BYTES / 1e6:.0f} MB, {when}": in_ms(
        [clock(lambda: [hash_content(file) for file in files])]
    ) for when in ("the first time", "again")}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a new folder; a fast disk")
    out = parser.parse_args().out
    out.mkdir(parents=True)
    os.environ["MIXOPT_CACHE"] = str(out / "cache")
    rows = [
        tuple(row) for row in np.random.default_rng(0).dirichlet(np.ones(K), max(SIZES)).tolist()
    ]
    found = {}
    for size in SIZES:
        fill(out / str(size), rows[:CANDIDATES], rows[CANDIDATES:size])
        found[f"{size:,} folders"] = look_up(out / str(size), rows[:CANDIDATES])
        shutil.rmtree(out / str(size))
    found["files"] = hash_files(out / "files")
    shutil.rmtree(out / "files")
    print(json.dumps(found, indent=2))
    (out / "store.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
