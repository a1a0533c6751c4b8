"""Layer-by-layer scoring: bytes read for the scores of each expert alone, and peak memory.

    git worktree add BEFORE 5e149bd
    python studies/merge-throughput/streamed.py --out OUT --before BEFORE        # parts can be named

Models of `disk.py` (0.49B parameters in bfloat16, four experts) in OUT; requests of random tokens.
Every measurement is a process of its own with the mixopt of a checkout.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from disk import K, make_models

sys.path.insert(0, str(Path(__file__).parents[1]))
from peak_memory import follow_memory

HERE = Path(__file__).resolve().parents[2]
REQUESTS, TOKENS, CANDIDATES = 6, 64, 2
MEMORY_BYTES = 1 << 30


class Tokens:
    """A task of random requests."""

    truncated, layout = 0, ()

    def __init__(self) -> None:
        import numpy as np

        from mixopt import Metric
        from mixopt.evaluation.tasks.base import Request

        self.metric = Metric("tokens")
        rng = np.random.default_rng(0)
        draw = rng.integers(1, 151_000, (REQUESTS, TOKENS)).tolist()
        self.requests = [Request(row[:8], row[8:]) for row in draw]
        self.loss_weights = -np.ones(REQUESTS)

    def read(self, totals):  # noqa: ANN001, ANN201 - of the version that is imported
        import numpy as np

        from mixopt.evaluation.tasks.base import ItemResults

        return ItemResults(totals, np.ones(len(totals)))


def open_scorer(out: Path):  # noqa: ANN201 - of the version that is imported
    """Return base and experts as scored layer by layer."""
    import torch

    from mixopt.evaluation.layerwise.scorer import LayerwiseScorer
    from mixopt.merging.checkpoint import Checkpoint
    from mixopt.merging.expert import open_expert
    from mixopt.training.device import Device

    experts = [open_expert(out / f"expert-{i}") for i in range(K)]
    device = Device("cpu", torch.float32)
    return LayerwiseScorer(Checkpoint(out / "base"), experts, device, memory_bytes=MEMORY_BYTES)


def corners(out: Path) -> dict:
    """Have every expert scored alone, as a search does, and count the bytes that are read."""
    import tempfile

    import numpy as np

    from mixopt.artifacts.store import ArtifactStore
    from mixopt.evaluation.engine import StreamedEngine
    from mixopt.evaluation.evaluator import MergeEvaluator
    from mixopt.evaluation.scorer import Scorer
    from mixopt.executors.dispatcher import LocalDispatcher
    from mixopt.merging.checkpoint import Checkpoint

    names, read, n_bytes = tuple("abcd"), Checkpoint.read, 0

    def count(self, name, rows=None):  # noqa: ANN001, ANN202
        nonlocal n_bytes
        tensor = read(self, name, rows)
        n_bytes += tensor.nbytes
        return tensor

    engine = StreamedEngine(open_scorer(out))
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder))

        def open_evaluator(dispatcher=None):  # noqa: ANN001, ANN202
            return MergeEvaluator(
                lambda: engine, K, Scorer([Tokens()]), store, {}, names=names, dispatcher=dispatcher
            )

        worker = open_evaluator()

        def work(job) -> None:  # noqa: ANN001
            if job.verb == "describe_models":
                _ = worker.facts
            else:
                which = job.arguments[1]
                worker.build_expert_logprobs([which] if isinstance(which, int) else which)

        driver = open_evaluator(LocalDispatcher(lambda: work, store, 0))
        driver.measure_facts()
        Checkpoint.read = count
        start = time.process_time()
        driver.prepare()
        seconds = time.process_time() - start
        total = float(np.concatenate(driver.expert_logprobs).sum(dtype=np.float64))
    models = n_bytes / sum(engine.stream.base.size_bytes(n) for n in engine.stream.base.names)
    return {"models read": models, "cpu_s": seconds, "sum": total}


def memory(out: Path) -> dict:
    """Score candidates, and follow the resident memory above the imports."""
    import numpy as np

    from mixopt.evaluation.scorer import Scorer

    stream, scorer = open_scorer(out), Scorer([Tokens()])
    rows = np.random.default_rng(0).dirichlet(np.ones(K), CANDIDATES).tolist()
    with follow_memory() as memory:
        start = time.process_time()
        found = stream.logprobs(scorer, rows)
        seconds = time.process_time() - start
    peak, before = memory.peak, memory.before
    return {
        "peak GB": peak["all"] / 1e9, "without file pages GB": peak["anonymous"] / 1e9,
        "before GB": before["all"] / 1e9, "limit GB": MEMORY_BYTES / 1e9, "cpu_s": seconds,
        "sum": float(found.sum(dtype=np.float64)),
    }  # fmt: skip


PARTS = {"corners": corners, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(PARTS[args.part](args.out)))
        return
    make_models(args.out)
    for part in args.parts:
        for side, checkout in (("before", args.before), ("now", HERE)):
            if checkout is None:
                continue
            environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--part", part, "--out", str(args.out)]
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            print(part, side, done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
