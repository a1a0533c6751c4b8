"""Peak memory of scoring LoRA experts of SmolLM2, held in memory and layer by layer.

    python studies/smollm/memory.py --base FOLDER --out OUT [--experts 6 8] [--memory-mib 512]

FOLDER is the base as safetensors: what mixopt wrote of the GGUF file, in `dequantized` of its cache.
The experts are random factors of rank 16 on all linear layers, as those of smollm.py are. Each
measurement is a process of its own, above its imports; file pages that the system may take back count in
the first column and not in the second.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from peak_memory import follow_memory

RANK, ALPHA = 16, 32
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
REQUESTS, TOKENS, SCORED = 8, 256, 128
"""Random requests of a full context; their logits are near the limit of a batch."""
VOCABULARY = 49_000


def make_expert(base: Path, folder: Path, seed: int) -> None:
    """Write an adapter of random factors for every linear layer of a base."""
    import torch
    from safetensors.torch import save_file

    from mixopt.merging.checkpoint import Checkpoint

    if (folder / "adapter_config.json").exists():
        return
    checkpoint, draw = Checkpoint(base), torch.Generator().manual_seed(seed)
    factors = {}
    for name in checkpoint.names:
        stem = name.removesuffix(".weight")
        if stem.rpartition(".")[2] in LINEAR:
            rows, columns = checkpoint.shape(name)
            for side, shape in (("A", (RANK, columns)), ("B", (rows, RANK))):
                factors[f"base_model.model.{stem}.lora_{side}.weight"] = (
                    torch.randn(shape, generator=draw) * 0.01
                )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": list(LINEAR),
              "base_model_name_or_path": str(base)}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


class Tokens:
    """A task of random requests."""

    truncated, layout = 0, ()

    def __init__(self) -> None:
        from mixopt import Metric
        from mixopt.evaluation.tasks.base import Request

        self.metric = Metric("tokens")
        rng = np.random.default_rng(0)
        draw = rng.integers(3, VOCABULARY, (REQUESTS, TOKENS)).tolist()
        self.requests = [Request(row[:-SCORED], row[-SCORED:]) for row in draw]
        self.loss_weights = -np.ones(REQUESTS)

    def read(self, totals):  # noqa: ANN001, ANN201 - as tasks do
        from mixopt.evaluation.tasks.base import ItemResults

        return ItemResults(totals, np.ones(len(totals)))


def measure(base: Path, folders: list[Path], scoring: str, memory_bytes: int) -> dict[str, float]:
    """Score experts alone, an ensemble and a merge of them, and follow the memory.

    In memory one model is scored after another, so that one expert stands for all. Layer by layer all
    are scored in one sweep.
    """
    import torch
    import transformers.models.llama.modeling_llama  # noqa: F401 - the imports are not measured

    from mixopt.evaluation.engine import open_engine
    from mixopt.evaluation.scorer import Scorer
    from mixopt.merging.ensemble import Ensemble
    from mixopt.merging.expert import open_expert
    from mixopt.training.device import Device
    from mixopt.training.model_loading import load_model

    device, k = Device("cpu", torch.float32), len(folders)
    with follow_memory() as memory:
        start = time.process_time()
        engine = open_engine(
            base, [open_expert(folder) for folder in folders], device,
            lambda: load_model(str(base), device), scoring=scoring, memory_bytes=memory_bytes,
        )  # fmt: skip
        scorer = Scorer([Tokens()])
        weights = np.random.default_rng(0).dirichlet(np.ones(k)).tolist()
        opened = dict(memory.peak)
        corners = np.eye(k)[: 1 if scoring == "resident" else k].tolist()
        alone = list(engine.logprobs(scorer, corners))
        mixed = Ensemble(alone * (k // len(corners))).mix(weights)
        merged = list(engine.logprobs(scorer, [weights]))
        seconds = time.process_time() - start
    peak, before = memory.peak, memory.before
    return {
        "peak GB": peak["all"] / 1e9, "without file pages GB": peak["anonymous"] / 1e9,
        "opened GB": opened["all"] / 1e9, "before GB": before["all"] / 1e9, "cpu_s": seconds,
        "ensemble": float(mixed.sum()), "merge": float(np.sum(merged, dtype=np.float64)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--experts", nargs="*", type=int, default=[6, 8])
    parser.add_argument("--scoring", nargs="*", default=["resident", "streamed"])
    parser.add_argument("--memory-mib", type=int, default=512, help="search.memory where streamed")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    folders = [args.out / f"expert-{number}" for number in range(max(args.experts))]
    if args.part:
        (k,), (scoring,) = args.experts, args.scoring
        print(json.dumps(measure(args.base, folders[:k], scoring, args.memory_mib << 20)))
        return
    for seed, folder in enumerate(folders):
        make_expert(args.base, folder, seed)
    for scoring in args.scoring:
        for k in args.experts:
            command = [
                sys.executable, __file__, "--part", "--base", str(args.base), "--out", str(args.out),
                "--experts", str(k), "--scoring", scoring, "--memory-mib", str(args.memory_mib),
            ]  # fmt: skip
            done = subprocess.run(
                command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True,
                check=True,
            )  # fmt: skip
            found = json.loads(done.stdout.splitlines()[-1])
            print(scoring, k, {name: round(value, 3) for name, value in found.items()}, flush=True)


if __name__ == "__main__":
    main()
