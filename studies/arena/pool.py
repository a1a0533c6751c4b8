"""Train the pool of a world, and write its losses and its experts' log-probabilities.

    python studies/arena/pool.py WORLD --out OUT [--part 0/2] [--most N]

Runs are mixopt's own: they lie in OUT/WORLD/artifacts, a finished run is not trained again, and a killed
one goes on from its last checkpoint. Two processes with `--part 0/2` and `--part 1/2` share the work.
Then `--write` puts the finished runs into studies/arena/pool/WORLD/: `runs.csv` (bits per byte by run,
tokens and metric) and `ensembles.csv` (the same of the pure runs' ensembles). Log-probabilities stay in
OUT; a base and experts that short are trained again in minutes.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pooled import DRAWS
from worlds import CAPABILITIES, LENGTHS, WORLDS, World, items, write_study

from mixopt import Mixture
from mixopt.artifacts.store import MissingArtifactError
from mixopt.merging.ensemble import Ensemble
from mixopt.optimization.objective import draw_around
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.evaluators import open_run_evaluator
from mixopt.pipeline.experts import train_base
from mixopt.pipeline.mixture_runs import RunSpec, ScoredRun, train_runs
from mixopt.pipeline.training_runs import mixture_run
from mixopt.study import Study
from mixopt.surrogates.ensemble import response_weights

POOL = Path(__file__).parent / "pool"
EXPERT_LENGTHS = (LENGTHS[0], LENGTHS[2])
"""Lengths of the experts that are ensembled: 1/8 and 1/2 of a unit."""
GAMMAS = (0.5, 0.6, 0.7, 1.0)


def open_world(world: World, out: Path) -> StudyContext:
    """Return the study of a world, its base trained."""
    study = Study.load(write_study(world, out / world.name), out / world.name / "results",
                       cache=out / "cache", device="cpu")  # fmt: skip
    context = study.prepare()
    train_base(context)
    return context


def specs(world: World) -> list[RunSpec]:
    """Return the runs of a world's pool."""
    return [
        RunSpec(name, Mixture.from_vector(world.domains, world.compositions[name]), seed, LENGTHS)
        for name, seed in world.runs()
    ]


def train_truth(context: StudyContext, specs: list[RunSpec], path: Path) -> None:
    """Train runs and write the scores of their ends, a row for each run and seed.

    Args:
        context: The study of a world, its base trained.
        specs: The runs.
        path: The table; another part may write to it too.
    """
    for spec, scored in train_runs(context, specs):
        if not isinstance(scored, ScoredRun):
            raise scored
        results = context.scorer.read(scored.logprobs[spec.checkpoints[-1]])
        row = {"run": spec.name, "seed": spec.seed} | {n: r.score for n, r in results.items()}
        old = pd.read_csv(path) if path.exists() else pd.DataFrame()
        table = pd.concat([old, pd.DataFrame([row])]).drop_duplicates(["run", "seed"], keep="last")
        table.sort_values(["seed", "run"]).to_csv(path, index=False, float_format="%.6f")
        print(f"{spec.name} {spec.seed}", flush=True)


class Losses:
    """Bits per byte of items and of their answers, from log-probabilities of all scored tokens."""

    def __init__(self, context: StudyContext) -> None:
        encode = context.corpora.tokenizer
        names = [name for group in CAPABILITIES.values() for name in group]
        self.metrics = [f"{name}.{part}" for name in names for part in ("item", "answer")]
        rows, answers, self.item, self.benchmark = [], [], [], []
        sizes = np.zeros((2, len(names), 0)).tolist()
        item = 0
        for number, name in enumerate(names):
            whole, right = [], []
            for prompt, answer in items(name):
                ends = encode(prompt + answer, add_special_tokens=False,
                              return_offsets_mapping=True)["offset_mapping"]  # fmt: skip
                inside = np.array([end > len(prompt) for _, end in ends])
                answers.append(inside)
                rows.append(np.full(len(ends), number))
                self.item += [item] * len(ends)
                item += 1
                whole.append(len((prompt + answer).encode()))
                # the token across the border is scored with the answer
                start = ends[int(np.flatnonzero(inside)[0])][0]
                right.append(len((prompt + answer)[start:].encode()))
            sizes[0][number], sizes[1][number] = sum(whole), sum(right)
        self.benchmark = np.concatenate(rows)
        self.answer = np.concatenate(answers)
        self.bytes = np.array(sizes, dtype=float)
        assert len(self.benchmark) == context.scorer.n_targets

    def of(self, logprobs: np.ndarray) -> np.ndarray:
        """Return bits per byte by metric, items and answers in turn."""
        bits = -logprobs.astype(np.float64) / np.log(2)
        count = self.bytes.shape[1]
        whole = np.bincount(self.benchmark, bits, minlength=count) / self.bytes[0]
        part = np.bincount(self.benchmark, bits * self.answer, minlength=count) / self.bytes[1]
        return np.stack([whole, part], axis=1).ravel()


def write(world: World, context: StudyContext) -> int:
    """Write what is finished of a world's pool; return the number of runs."""
    context.store.read_only = True
    losses, rows, experts = Losses(context), [], {}
    base = None
    for spec in specs(world):
        run = mixture_run(context, spec.name, spec.ratios, spec.seed, spec.checkpoints)
        try:
            flats = {
                tokens: open_run_evaluator(context, run, step).expert_logprobs[0]
                for tokens, step in zip(LENGTHS, run.plan.checkpoints, strict=True)
            }
        except MissingArtifactError:
            continue
        for tokens, flat in flats.items():
            rows.append([spec.name, spec.seed, tokens, *losses.of(flat)])
            if spec.seed == 0 and tokens in EXPERT_LENGTHS and (
                spec.name == "natural" or spec.name.startswith("pure-")
            ):  # fmt: skip
                experts[f"{spec.name}-{tokens}"] = flat
        if base is None:
            with torch.inference_mode():
                base = context.scorer.logprobs(context.base_model.load())
            rows.append(["base", 0, 0, *losses.of(base)])
    folder = POOL / world.name
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows, columns=["run", "seed", "tokens", *losses.metrics])
    frame.sort_values(["run", "seed", "tokens"]).to_csv(
        folder / "runs.csv", index=False, float_format="%.5f"
    )
    if all(f"pure-{domain}-{EXPERT_LENGTHS[0]}" in experts for domain in world.domains):
        table = tabulate_ensembles(world, losses, experts)
        table.to_csv(folder / "ensembles.csv", index=False, float_format="%.5f")
    return len({(row[0], row[1]) for row in rows}) - 1


def tabulate_ensembles(
    world: World, losses: Losses, experts: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Return bits per byte of the pure runs' ensembles at the pool's mixtures and around natural."""
    around = draw_around(world.compositions["natural"], DRAWS, np.random.default_rng(0))
    mixtures = dict(world.compositions)
    mixtures |= {f"draw-{i:02d}": row for i, row in enumerate(around)}
    rows = []
    for tokens in EXPERT_LENGTHS:
        ensemble = Ensemble([experts[f"pure-{domain}-{tokens}"] for domain in world.domains])
        for gamma in GAMMAS:
            for name, row in mixtures.items():
                mixed = ensemble.mix(response_weights(row, gamma).tolist())
                rows.append([tokens, gamma, name, *losses.of(mixed)])
    return pd.DataFrame(rows, columns=["tokens", "gamma", "mixture", *losses.metrics])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--most", type=int)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    world = WORLDS[args.world]
    part, parts = map(int, args.part.split("/"))
    context = open_world(world, args.out)
    if args.write:
        print(f"{write(world, context)} runs are in {POOL / world.name}")
        return
    start = time.perf_counter()
    chosen = specs(world)[part::parts][: args.most]
    for spec, scored in train_runs(context, chosen):
        if not isinstance(scored, ScoredRun):
            raise scored
        seconds = time.perf_counter() - start
        print(f"{spec.name} {spec.seed}: {seconds:.0f} s, "
              f"{-scored.logprobs[LENGTHS[-1]].mean():.4f} nats", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
