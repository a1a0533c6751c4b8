"""A driver with a thousand workers that only pretend to score: what it costs, candidate by candidate.

    python studies/scale-out/fleet.py --out OUT --workers 1000 --candidates 20000

Everything on the driver's side is real: jobs, queue, retries, artifacts and the reading of every score.
Workers are timers: a candidate takes 30 s times a lognormal (σ 0.5), one in 50 takes 5 times as long (a
straggler), one in 100 fails and one in 500 loses its worker. Their artifacts are written beforehand by
a second process, as workers would elsewhere, so that only the driver is measured. Time is simulated:
the clock jumps to the next event, and the driver's own seconds are held against it.
"""

import argparse
import heapq
import json
import random
import resource
import sys
import time
from concurrent.futures import Future
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation.score_cache import CandidateScores, ScoreCache
from mixopt.evaluation.tasks.base import ItemResults
from mixopt.executors.base import WorkerLostError
from mixopt.executors.dispatcher import Dispatcher
from mixopt.executors.job import Job

MEAN_S, SIGMA = 30.0, 0.5
STRAGGLES, SLOWER = 50, 5.0
FAILS, LOSES = 100, 500
K = 8
BENCHMARKS = {f"bench-{index}": str(index) for index in range(8)}
ITEMS = 200


class Fleet:
    """An executor whose workers are timers on a simulated clock."""

    prefers_large_jobs = False
    is_remote = True

    def __init__(self, workers: int, seed: int) -> None:
        self.slots = workers
        self.clock = 0.0
        self.busy_s = 0.0
        self._rng = random.Random(seed)
        self._events: list[tuple[float, int, Future, object, Job]] = []
        self.on_success = lambda _: None
        self._count = 0
        self._draining = False

    def submit(self, job: Job) -> Future:
        future: Future = Future()
        lasts = MEAN_S * self._rng.lognormvariate(0, SIGMA)
        if self._rng.randrange(STRAGGLES) == 0:
            lasts *= SLOWER
        outcome: object = None
        if self._rng.randrange(FAILS) == 0:
            outcome = OSError("a card fell off the bus")
        if self._rng.randrange(LOSES) == 0:
            outcome = WorkerLostError("A machine went away.")
        self._count += 1
        heapq.heappush(self._events, (self.clock + lasts, self._count, future, outcome, job))
        self.busy_s += lasts
        if len(self._events) >= self.slots or self._draining:
            self.advance()
        return future

    def drain(self) -> None:
        """No jobs are left but those that are tried again: all that run come to their end."""
        self._draining = True
        while self.advance():
            pass

    def advance(self) -> bool:
        """Lets the next worker end."""
        if not self._events:
            return False
        self.clock, _, future, outcome, job = heapq.heappop(self._events)
        if outcome is None:
            self.on_success(job)
        if isinstance(outcome, WorkerLostError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return True

    def close(self) -> None:
        self._events.clear()


class LateStore(ArtifactStore):
    """A store that shows an artifact only after its job has ended."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ended: set[str] = set()

    def find(self, artifact: Artifact) -> Path | None:
        return super().find(artifact) if artifact.folder_name in self.ended else None


def open_cache(store: ArtifactStore) -> ScoreCache:
    return ScoreCache(store, "scores", {"base": "b", "experts": list("abcdefgh")}, BENCHMARKS)


def write_artifacts(folder: Path, rows: list[tuple[float, ...]]) -> None:
    """Write what workers would, with as many items as real benchmarks have."""
    rng = np.random.default_rng(1)
    store = ArtifactStore(folder)
    cache = open_cache(store)
    for row in rows:
        results = {n: ItemResults(rng.normal(size=ITEMS), np.ones(ITEMS)) for n in BENCHMARKS}
        scores = CandidateScores({"merged": results, "ensembled": results})
        store.get_or_build(cache.artifact(row), scores.save)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=20_000)
    told = parser.parse_args()
    rows = [
        tuple(r) for r in np.random.default_rng(0).dirichlet(np.ones(K), told.candidates).tolist()
    ]
    writer = get_context("spawn").Process(
        target=write_artifacts, args=(told.out / "artifacts", rows)
    )
    writer.start()
    writer.join()
    assert writer.exitcode == 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    fleet = Fleet(told.workers, seed=0)
    store = LateStore(told.out / "artifacts")
    cache = open_cache(store)
    fleet.on_success = lambda job: store.ended.add(artifacts[job.arguments[-1][0]].folder_name)
    artifacts = {row: cache.artifact(row) for row in rows}
    dispatcher = Dispatcher(lambda: fleet, store, 2)

    def jobs():
        for row, artifact in artifacts.items():
            yield Job("score", (tuple(map(str, range(K))), [row]), "a candidate", (artifact,))
        fleet.drain()

    began, cpu = time.monotonic(), time.process_time()
    values, lost = 0, []
    for job, error in dispatcher.run(jobs()):
        scores = cache.find(job.arguments[-1][0])
        if error is not None or scores is None:
            lost.append(job)
        else:
            values += len(scores.results["merged"])
    spent = time.process_time() - cpu
    report = {
        "workers": told.workers,
        "candidates": told.candidates,
        "simulated s": round(fleet.clock, 1),
        "busy share of the workers": round(fleet.busy_s / (fleet.clock * told.workers), 3),
        "driver CPU s": round(spent, 2),
        "driver CPU ms a candidate": round(1000 * spent / told.candidates, 3),
        "driver share of one core": round(spent / fleet.clock, 4),
        "driver wall s": round(time.monotonic() - began, 2),
        "most MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "MB before": round(before),
        "scores read": values,
        "set aside": len(lost),
    }
    told.out.mkdir(parents=True, exist_ok=True)
    (told.out / "fleet.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    sys.exit(main())
