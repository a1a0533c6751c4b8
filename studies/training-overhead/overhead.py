"""What a training costs beside a bare loop over the same batches, and what each training costs at least.

    python studies/training-overhead/overhead.py --width 96 --layers 3 --repeats 5

Both sides run in one process, on one thread, in turns; times are CPU seconds. A training of few and one
of many steps give the cost of a step and the fixed cost. `--collect` measures the fixed cost with the
garbage collector looking through all libraries, as before.
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mixopt.config.training import TrainingConfig
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.device import Device
from mixopt.training.step_law import resolve_hyperparameters
from mixopt.training.trainer import exclude_libraries_from_collection, train

CONTEXT, BATCH, VOCABULARY = 96, 16, 2048
SHORT = 5


class RandomSequences(torch.utils.data.Dataset):
    """As much text as a training reads, of random tokens."""

    context = CONTEXT

    def __init__(self, n: int) -> None:
        tokens = np.random.default_rng(0).integers(0, VOCABULARY, (n, CONTEXT))
        self.tokens = torch.from_numpy(tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


def build(width: int, layers: int) -> torch.nn.Module:
    torch.manual_seed(0)
    heads = max(2, width // 32)
    config = AutoConfig.for_model(
        "llama", hidden_size=width, intermediate_size=8 * width // 3, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, vocab_size=VOCABULARY,
        tie_word_embeddings=True, max_position_embeddings=CONTEXT, pad_token_id=None,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


def ours(model: torch.nn.Module, steps: int, precision: str = "auto") -> None:
    config = TrainingConfig(tokens=steps * BATCH * CONTEXT, learning_rate=1e-3, max_epochs=99,
                            batch_tokens=BATCH * CONTEXT, mixed_precision=precision)  # fmt: skip
    step = resolve_hyperparameters(config, 1000)
    plan = BatchPlan.of(config, step, CONTEXT, 1, vocabulary=VOCABULARY)
    assert (plan.steps, plan.accumulation) == (steps, 1)
    with tempfile.TemporaryDirectory() as folder:
        train(model, RandomSequences(steps * BATCH), config, step, plan, name="run", seed=0,
              device=Device("cpu", torch.float32),
              checkpoints=CheckpointManager(Path(folder), 1e9))  # fmt: skip


def bare(model: torch.nn.Module, steps: int) -> None:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    for batch in RandomSequences(steps * BATCH).tokens.split(BATCH):
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def seconds(run, model: torch.nn.Module, *settings) -> float:
    before = time.process_time()
    run(model, *settings)
    return time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=45, help="Of the longer training.")
    parser.add_argument("--collect", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = build(args.width, args.layers)
    ours(model, 2)  # loads what is loaded late
    exclude_libraries_from_collection()
    if args.collect:
        gc.unfreeze()
    ratios, fixed = [], []
    for _ in range(args.repeats):
        times = {
            (run, n): seconds(run, model, n) for n in (SHORT, args.steps) for run in (ours, bare)
        }
        per_step = {run: (times[run, args.steps] - times[run, SHORT]) / (args.steps - SHORT)
                    for run in (ours, bare)}  # fmt: skip
        ratios.append(per_step[ours] / per_step[bare])
        fixed.append(times[ours, SHORT] - SHORT * per_step[ours])
    n = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{n:,} parameters: a step takes {median(ratios):.3f} times that of a bare loop "
        f"({min(ratios):.3f} to {max(ratios):.3f}); a training {median(fixed):.2f} CPU-s more "
        f"({min(fixed):.2f} to {max(fixed):.2f})"
    )


if __name__ == "__main__":
    main()
