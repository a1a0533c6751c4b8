"""Cost of the driver per candidate, with a thousand simulated workers.

    python studies/scale-out/fleet.py --out OUT --workers 1000 --candidates 20000

The driver's side is real: jobs, queue, retries, artifacts, and the reading of every score, all through
`MergeEvaluator.evaluate`. Workers are timers: a candidate takes 30 s times a lognormal factor (σ 0.5),
one in 50 takes 5 times as long (a straggler), one in 100 fails and one in 500 loses its worker. A second
process writes their artifacts beforehand, and the store shows each when its worker has ended, so only
the driver is measured. Time is simulated: the clock jumps to the next event, and the CPU time of the
driver is compared with it.
"""

import argparse
import heapq
import json
import random
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation.evaluator import MergeEvaluator, ModelFacts
from mixopt.evaluation.score_cache import CandidateScores, Row
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
    """An executor whose workers are timers on a simulated clock.

    Args:
        workers: Number of workers.
        seed: Of their times and failures.
        finished: Filled with the weights that have been scored.
    """

    prefers_large_jobs = False
    is_remote = True

    def __init__(self, workers: int, seed: int, finished: set[Row]) -> None:
        self.slots = workers
        self.clock = 0.0
        self.busy_s = 0.0
        self.is_draining = False
        self._rng = random.Random(seed)
        self._finished = finished
        self._events: list[tuple[float, int, Future, object, Job]] = []
        self._count = 0

    def submit(self, job: Job) -> Future:
        future: Future = Future()
        lasts = MEAN_S * self._rng.lognormvariate(0, SIGMA)
        if self._rng.randrange(STRAGGLES) == 0:
            lasts *= SLOWER
        outcome: object = None
        if self._rng.randrange(FAILS) == 0:
            outcome = OSError("a GPU was lost")
        if self._rng.randrange(LOSES) == 0:
            outcome = WorkerLostError("A machine failed.")
        self._count += 1
        heapq.heappush(self._events, (self.clock + lasts, self._count, future, outcome, job))
        self.busy_s += lasts
        if len(self._events) >= self.slots or self.is_draining:
            self.advance()
        return future

    def drain(self) -> None:
        """End all running jobs; from now on only retries are submitted, and end at once."""
        self.is_draining = True
        while self.advance():
            pass

    def advance(self) -> bool:
        """Move the clock to the next end of a job; return False if none is running."""
        if not self._events:
            return False
        self.clock, _, future, outcome, job = heapq.heappop(self._events)
        if isinstance(outcome, WorkerLostError):
            future.set_exception(outcome)
            return True
        if outcome is None:
            self._finished.update(job.arguments[-1])
        future.set_result(outcome)
        return True

    def close(self) -> None:
        self._events.clear()


class FleetDispatcher(Dispatcher):
    """A dispatcher that lets the fleet end what is running when no new job is left."""

    def __init__(self, fleet: Fleet, store: ArtifactStore, retries: int) -> None:
        super().__init__(lambda: fleet, store, retries)
        self._fleet = fleet

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        def drained() -> Iterator[Job]:
            yield from jobs
            self._fleet.drain()

        self._fleet.is_draining = False
        return super().run(drained())


class DelayedStore(ArtifactStore):
    """A store that shows a candidate's scores once a worker has finished it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.finished: set[Row] = set()

    def find(self, artifact: Artifact) -> Path | None:
        if artifact.kind == "scores" and tuple(artifact.key["weights"]) not in self.finished:
            return None
        return super().find(artifact)


def open_evaluator(store: ArtifactStore, **options: object) -> MergeEvaluator:
    """Return the evaluator of experts that do not exist, with benchmarks by name only."""
    scorer = SimpleNamespace(digest="d", digests=BENCHMARKS)
    key = {"base": "b", "experts": list("abcdefgh")}
    names = tuple(map(str, range(K)))
    return MergeEvaluator(lambda: None, K, scorer, store, key, names=names, **options)


def write_artifacts(folder: Path, rows: list[Row]) -> None:
    """Write what workers would build, with as many items as real benchmarks have."""
    rng = np.random.default_rng(1)
    evaluator = open_evaluator(ArtifactStore(folder))
    store, cache = evaluator.store, evaluator.items.cache
    facts = json.dumps(asdict(ModelFacts(1_000_000, 10_000, [0.05] * K, together=False)))
    store.get_or_build(
        evaluator.facts_artifact, lambda scratch: (scratch / "facts.json").write_text(facts)
    )
    for index in range(K):
        store.get_or_build(
            evaluator.expert_artifact(index),
            lambda scratch: np.save(scratch / "logprobs.npy", np.zeros(1, np.float32)),
        )
    for row in rows:
        results = {n: ItemResults(rng.normal(size=ITEMS), np.ones(ITEMS)) for n in BENCHMARKS}
        scores = CandidateScores({"merged": results, "ensembled": results})
        store.get_or_build(
            cache.artifact(row),
            lambda scratch, row=row, scores=scores: cache.save(row, scores, scratch),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=20_000)
    args = parser.parse_args()
    weights = np.random.default_rng(0).dirichlet(np.ones(K), args.candidates)
    rows = [tuple(row) for row in weights.tolist()]
    folder = args.out / "artifacts"
    writer = get_context("spawn").Process(target=write_artifacts, args=(folder, rows))
    writer.start()
    writer.join()
    assert writer.exitcode == 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    store = DelayedStore(folder)
    fleet = Fleet(args.workers, seed=0, finished=store.finished)
    lost: list[str] = []
    evaluator = open_evaluator(
        store, dispatcher=FleetDispatcher(fleet, store, 2), on_lost=lost.append
    )
    began, cpu = time.monotonic(), time.process_time()
    n_scores = 0
    for results in evaluator.evaluate(rows):
        n_scores += len(results.get("merged", {}))
    spent = time.process_time() - cpu
    report = {
        "workers": args.workers,
        "candidates": args.candidates,
        "simulated s": round(fleet.clock, 1),
        "busy share of the workers": round(fleet.busy_s / (fleet.clock * args.workers), 3),
        "driver CPU s": round(spent, 2),
        "driver CPU ms a candidate": round(1000 * spent / args.candidates, 3),
        "driver share of one core": round(spent / fleet.clock, 4),
        "driver wall s": round(time.monotonic() - began, 2),
        "most MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "MB before": round(before),
        "scores read": n_scores,
        "set aside": len(lost),
    }
    (args.out / "fleet.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    sys.exit(main())
