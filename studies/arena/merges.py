"""Score merges of a world's pure runs at the pool's mixtures, as the proxy that MergeMix searches.

    python studies/arena/merges.py WORLD --out OUT [--tokens 115200]

Needs the pure runs of `pool.py`, whose weights lie in OUT. Writes studies/arena/pool/WORLD/merges.csv:
bits per byte by tokens of the experts, response exponent and mixture.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from pool import POOL, Losses, open_world, specs
from worlds import LENGTHS, WORLDS

from mixopt.pipeline.evaluators import open_checkpoint_evaluator
from mixopt.pipeline.training_runs import mixture_run

RESPONSES = (0.7, 1.0)
"""The best exponent of `studies/rank-fidelity`, and MergeMix as published."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=LENGTHS[2], choices=LENGTHS)
    args = parser.parse_args()
    world = WORLDS[args.world]
    context = open_world(world, args.out)
    losses, rows = Losses(context), []
    runs = [
        mixture_run(context, spec.name, spec.ratios, spec.seed, spec.checkpoints)
        for name in world.domains
        for spec in specs(world)
        if (spec.name, spec.seed) == (f"pure-{name}", 0)
    ]
    steps = [run.plan.checkpoints[LENGTHS.index(args.tokens)] for run in runs]
    for response in RESPONSES:
        evaluator = open_checkpoint_evaluator(
            context, list(zip(runs, steps, strict=True)), response
        )
        engine = evaluator.engine
        engine.prepare(context.scorer)
        mixtures = [evaluator.respond(row.tolist()) for row in world.compositions.values()]
        with torch.inference_mode():
            scored = engine.logprobs(context.scorer, mixtures)
            for name, flat in zip(world.compositions, scored, strict=True):
                rows.append([args.tokens, response, name, *losses.of(flat)])
                print(response, name, flush=True)
    table = pd.DataFrame(rows, columns=["tokens", "gamma", "mixture", *losses.metrics])
    table.to_csv(POOL / world.name / "merges.csv", index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
