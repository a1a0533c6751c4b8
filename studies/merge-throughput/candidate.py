"""A candidate (merge and log-probabilities) over a bare forward pass of the same batches, few tokens.

    python studies/merge-throughput/candidate.py --shared ../shared --out OUT [--turns 15]

The bare pass is the model's own on batches that are ready, with the output layer on scored positions,
and reads nothing of the logits. Both run in one process, on one thread, in turns; times are CPU seconds.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from engine import CPU, SIZES, Bench, K
from transformers import logging
from transformers.utils import logging as progress

from mixopt.evaluation import scorer as scoring
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger
from mixopt.training.model_loading import load_model

SIZES["1.9M"] = {"hidden_size": 96, "intermediate_size": 288, "num_hidden_layers": 3,
                 "num_attention_heads": 4, "num_key_value_heads": 4}  # fmt: skip
SIZES["10M"] = {"hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 4,
                "num_attention_heads": 5, "num_key_value_heads": 5}  # fmt: skip
ITEMS = {"1.9M": 20, "10M": 20, "100M": 10}
"""Items of a size: a thousand to two thousand tokens."""


def seconds(run, *args) -> float:
    start = time.process_time()
    run(*args)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    progress.disable_progress_bar()
    bench = Bench(args.shared, args.out)
    for size, count in ITEMS.items():
        model = load_model(bench.base(size), CPU)
        merger = ModelMerger(model, [open_expert(f) for f in bench.experts(size, K)])
        scorer = bench.scorer(count)
        batches = scorer.batches(model, lambda some, m=model: scoring.score_batches(m, some))

        @torch.inference_mode()
        def bare(model=model, batches=batches) -> None:
            for batch in batches:
                with scoring._scored_positions_only(model, batch):
                    _ = model(**scoring.model_inputs(model, batch)).logits

        def candidate(row, model=model, scorer=scorer, merger=merger) -> None:
            merger.merge(row)
            scorer.logprobs(model)

        candidate([1 / K] * K)
        bare()
        passes, merges, candidates = [], [], []
        for row in bench.rows(K, args.turns):
            passes.append(seconds(bare))
            merges.append(seconds(merger.merge, row))
            candidates.append(seconds(candidate, row))
        ratios = np.array(candidates) / np.array(passes)
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        parameters = sum(p.numel() for p in model.parameters())
        print(f"{parameters / 1e6:.1f}M, {scorer.count_tokens():,} tokens, K = {K}: {middle:.3f} "
              f"[{low:.3f}, {high:.3f}] of {np.median(passes):.3f} s; the merge alone "
              f"{np.median(np.array(merges) / np.array(passes)):.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
