"""A merge to disk against reading and writing the same bytes once.

    git worktree add BEFORE 5e149bd
    python studies/merge-throughput/disk.py --out OUT --before BEFORE

A base of 0.49B parameters in bfloat16 (the shape of Qwen2.5-0.5B, random weights) and four experts.
Each checkout has a process, one after the other, that merges and copies in turns: CPU seconds of one
thread,
and the peak of resident memory above the imports.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parents[2]
SHAPE = {"vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
         "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True,
         "max_position_embeddings": 4096}  # fmt: skip
K, STEP = 4, 2e-3
WEIGHTS = (0.4, 0.3, 0.2, 0.1)
COPIED_BYTES = 1 << 20
"""Bytes that the copy reads and writes at a time."""


def make_models(out: Path) -> list[Path]:
    """Write base and experts once; return their folders, the base's first."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    folders = [out / "base", *(out / f"expert-{i}" for i in range(K))]
    if not (folders[0] / "model.safetensors").is_file():
        torch.manual_seed(0)
        config = AutoConfig.for_model("qwen2", **SHAPE)
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folders[0])
    for seed, folder in enumerate(folders[1:]):
        if not (folder / "model.safetensors").is_file():
            folder.mkdir(exist_ok=True)
            generator = torch.Generator().manual_seed(seed)
            tensors = {
                name: (t.float() + STEP * torch.randn(t.shape, generator=generator)).to(t.dtype)
                for name, t in load_file(folders[0] / "model.safetensors").items()
            }
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            shutil.copy(folders[0] / "config.json", folder)
    return folders


def copy_bytes(folders: list[Path], target: Path) -> None:
    """Read all models and write as many bytes as one of them has."""
    buffer = memoryview(bytearray(COPIED_BYTES))
    with target.open("wb") as written:
        for place, folder in enumerate(folders):
            with (folder / "model.safetensors").open("rb", buffering=0) as stream:
                while n := stream.readinto(buffer):
                    if place == 0:
                        written.write(buffer[:n])
    target.unlink()


def measure(out: Path, turns: int) -> dict:
    """Merge and copy in turns in this process."""
    from mixopt.merging.to_disk import merge_to_disk

    folders, merged = [out / "base", *(out / f"expert-{i}" for i in range(K))], out / "merged"
    pairs = dict(zip(folders[1:], WEIGHTS, strict=True))
    found: dict = {"merge_s": [], "copy_s": [], "wall_s": []}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for turn in range(turns):
        start, wall = time.process_time(), time.perf_counter()
        merge_to_disk(folders[0], pairs, merged)
        middle = time.process_time()
        found["wall_s"].append(time.perf_counter() - wall)
        if turn == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            found["peak_gb"] = (peak - before) * 1024 / 1e9
            with (merged / "model.safetensors").open("rb") as stream:
                found["digest"] = hashlib.file_digest(stream, "blake2b").hexdigest()[:16]
        shutil.rmtree(merged)
        copied = time.process_time()
        copy_bytes(folders, out / "copied")
        found["merge_s"].append(middle - start)
        found["copy_s"].append(time.process_time() - copied)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(measure(args.out, args.turns)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    make_models(args.out)
    digests = set()
    for side, checkout in (("before", args.before), ("now", HERE)):
        if checkout is None:
            continue
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        command = [
            sys.executable,
            __file__,
            "--part",
            "--out",
            str(args.out),
            "--turns",
            str(args.turns),
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        ratios = [m / c for m, c in zip(found["merge_s"], found["copy_s"], strict=True)]
        digests.add(found["digest"])
        print(
            f"{side}: {median(found['merge_s']):.2f} CPU-s, {median(ratios):.2f} times a copy "
            f"[{min(ratios):.2f}, {max(ratios):.2f}], peak {found['peak_gb']:.2f} GB", flush=True,
        )  # fmt: skip
        print(json.dumps(found), flush=True)
    print("bits equal" if len(digests) == 1 else f"bits differ: {digests}")


if __name__ == "__main__":
    main()
