"""Padding and time of scoring: batches by dynamic programming against batches filled to their limit.

    python studies/merge-throughput/batches.py --shared ../shared [--rounds 7]

Both sides score the same requests with the same model of random weights, in turns and in one process.
Prints, by model size and benchmarks, the padding of both, the median ratio of times and the largest
difference of a log-probability; and the time of the log-probabilities alone, fused and in two steps.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as progress

from mixopt.config.benchmarks import MultipleChoiceConfig
from mixopt.config.training import BuiltBaseConfig, TrainingConfig
from mixopt.data.tokenizer import build_tokenizer
from mixopt.evaluation import scorer as scoring
from mixopt.evaluation.prefix_batching import MASK_CELLS, _to_batch, make_batches, pack_requests
from mixopt.evaluation.tasks.base import Request, TaskContext
from mixopt.evaluation.tasks.registry import build_task

SIZES = {"0.5M": (96, 3, 4), "1.9M": (192, 4, 4), "10M": (384, 6, 6)}
"""Width, layers and heads."""
CHOICES = ("winogrande", "copa", "pubmedqa_test", "mmlu_cs", "mmlu_law")
ITEMS = 40


def fill(rows: list, requests: list[Request], offsets: np.ndarray, limits: dict[str, int]) -> list:
    """Return batches that take sequences, the longest first, until a limit is reached."""
    batches: list[list] = []
    targets = 0
    for row in sorted(rows, key=lambda r: (len(r.branches) > 1, -r.length)):
        scored = sum(len(requests[index].target) for index in row.requests)
        if batches:
            length, count = batches[-1][0].length, len(batches[-1]) + 1
            branched = len(batches[-1][0].branches) > 1
            fits = count * length <= limits["most_tokens"]
            fits &= not branched or count * length * length <= MASK_CELLS
            fits &= branched == (len(row.branches) > 1)
            if fits and targets + scored <= limits["most_targets"]:
                batches[-1].append(row)
                targets += scored
                continue
        batches.append([row])
        targets = scored
    return [_to_batch(batch, requests, offsets) for batch in batches]


def two_steps(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return logits.gather(-1, targets[:, None]).squeeze(-1) - logits.logsumexp(-1)


def fused(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def ratio(one, other, rounds: int) -> tuple[float, float, float]:
    """Return the median of paired ratios of CPU time and its quartiles."""
    found = []
    for _ in range(rounds):
        times = []
        for run in (one, other):
            start = time.process_time()
            run()
            times.append(time.process_time() - start)
        found.append(times[0] / times[1])
    low, middle, high = np.percentile(found, [25, 50, 75])
    return middle, low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    progress.disable_progress_bar()
    files = {name: args.shared / "benchmarks" / f"{name}.jsonl" for name in CHOICES}
    texts = (json.loads(line)["prompt"] for file in files.values() for line in file.open())
    built = BuiltBaseConfig(kind="build", vocabulary=2048, training=TrainingConfig(tokens=1))
    tokenizer = build_tokenizer(texts, built)
    for size, (width, layers, heads) in SIZES.items():
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            "llama", vocab_size=len(tokenizer), hidden_size=width, intermediate_size=3 * width,
            num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
            max_position_embeddings=1024, tie_word_embeddings=True,
        )  # fmt: skip
        model = AutoModelForCausalLM.from_config(config).eval()
        for names in [*((name,) for name in CHOICES), CHOICES]:
            requests = []
            for name in names:
                task = MultipleChoiceConfig(name=name, kind="multiple_choice",
                                            items=str(files[name]), max_items=ITEMS)  # fmt: skip
                requests += build_task(task, TaskContext(tokenizer, 1024)).requests
            offsets = np.cumsum([0, *(len(request.target) for request in requests)])
            rows = pack_requests(requests, shared=True)
            limits = {"most_tokens": scoring.BATCH_TOKENS["cpu"],
                      "most_targets": scoring.LOGIT_BYTES // (4 * len(tokenizer))}  # fmt: skip
            filled = fill(rows, requests, offsets, limits)
            best = make_batches(rows, requests, offsets, **limits,
                                pass_tokens=scoring.PASS_TOKENS["cpu"])  # fmt: skip
            tokens = sum(row.length for row in rows)
            padding = [sum(b.tokens.numel() for b in some) / tokens - 1 for some in (filled, best)]
            scored = []
            for some in (filled, best):
                flat = np.zeros(offsets[-1])
                for batch, part in zip(some, scoring.score_batches(model, some), strict=True):
                    flat[batch.places] = part
                scored.append(flat)
            middle, low, high = ratio(
                lambda some=best, model=model: scoring.score_batches(model, some),
                lambda some=filled, model=model: scoring.score_batches(model, some), args.rounds,
            )  # fmt: skip
            label = names[0] if len(names) == 1 else "all five"
            print(f"{size} {label}: padding {padding[0]:.0%} in {len(filled)} batches, "
                  f"{padding[1]:.0%} in {len(best)}; time {middle:.2f} [{low:.2f}, {high:.2f}]; "
                  f"differ by {np.abs(scored[0] - scored[1]).max():.1e} nats", flush=True)  # fmt: skip
    logits, targets = torch.randn(4096, 8192), torch.randint(8192, (4096,))
    middle, low, high = ratio(
        lambda: fused(logits, targets), lambda: two_steps(logits, targets), 5 * args.rounds
    )
    print(f"log-probabilities, 4,096 x 8,192: {middle:.2f} [{low:.2f}, {high:.2f}] of two steps")


if __name__ == "__main__":
    main()
