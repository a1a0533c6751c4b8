"""Cost of scoring merges: time beyond a forward pass, memory, and merging to disk.

    python studies/merge-throughput/engine.py --shared ../shared --out OUT [--peers PYTHON]
        [--device auto|cpu|cuda] [PART ...]

Models have random weights: times do not depend on the values. PYTHON is the interpreter of a separate
environment with mergekit and lm_eval, for the parts that compare with them. Each part prints its results
and writes them to OUT as JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM, logging
from transformers.utils import logging as progress

from mixopt.config.benchmarks import MultipleChoiceConfig
from mixopt.config.training import BuiltBaseConfig, TrainingConfig
from mixopt.data.tokenizer import build_tokenizer
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.registry import build_task
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger
from mixopt.training.device import Device
from mixopt.training.model_loading import load_model

SIZES = {
    "25M": {"hidden_size": 448, "intermediate_size": 1216, "num_hidden_layers": 8,
            "num_attention_heads": 7, "num_key_value_heads": 7},
    "100M": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 11,
             "num_attention_heads": 12, "num_key_value_heads": 12},
}  # fmt: skip
VOCABULARY = 8192
ITEMS = "mmlu_cs.jsonl"
K, M = 5, 32
CPU = Device("cpu", torch.float32)


class Bench:
    """Models, experts and items, created once in OUT."""

    def __init__(self, shared: Path, out: Path, device: Device = CPU) -> None:
        self.items, self.out, self.device = shared / "benchmarks" / ITEMS, out, device
        self.tokenizer = build_tokenizer(
            (
                json.loads(line)["prompt"]
                for file in sorted((shared / "benchmarks").glob("mmlu_*.jsonl"))
                for line in file.open()
            ),
            BuiltBaseConfig(kind="build", vocabulary=VOCABULARY, training=TrainingConfig(tokens=1)),
        )

    def base(self, size: str) -> Path:
        folder = self.out / "models" / size / "base"
        if not folder.exists():
            torch.manual_seed(0)
            config = AutoConfig.for_model("llama", vocab_size=len(self.tokenizer), bos_token_id=0,
                                          eos_token_id=0, tie_word_embeddings=False,
                                          max_position_embeddings=2048, **SIZES[size])  # fmt: skip
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        return folder

    def experts(self, size: str, k: int) -> list[Path]:
        folders = [self.out / "models" / size / f"expert-{index}" for index in range(k)]
        for index, folder in enumerate(folders):
            if not folder.exists():
                network = load_model(self.base(size), CPU)
                generator = torch.Generator().manual_seed(index)
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.add_(2e-3 * torch.randn(parameter.shape, generator=generator))
                network.save_pretrained(folder)
                self.tokenizer.save_pretrained(folder)
        return folders

    def config(self, count: int) -> MultipleChoiceConfig:
        return MultipleChoiceConfig(
            name="mmlu", kind="multiple_choice", items=str(self.items), max_items=count
        )

    def scorer(self, count: int, *, share: bool = True) -> Scorer:
        task = build_task(self.config(count), TaskContext(self.tokenizer, 2048))
        return Scorer([task], share_prompts=share)

    def rows(self, k: int, count: int = M) -> list[list[float]]:
        return np.random.default_rng(0).dirichlet(np.ones(k), count).tolist()


def clock(run: Callable, *args: object) -> float:
    """Return seconds; a GPU works behind the program, so it is waited for."""
    synchronize()
    start = time.perf_counter()
    run(*args)
    synchronize()
    return time.perf_counter() - start


def synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def spread(values: list[float]) -> dict[str, float]:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return {"10%": float(low), "median": float(middle), "90%": float(high)}


def overhead(bench: Bench, args: argparse.Namespace) -> dict:
    """Time a candidate's merge and forward pass beside a forward pass of the base, alternately."""
    found = {}
    for size, count in (("25M", 120), ("100M", 60)):
        network = load_model(bench.base(size), bench.device)
        plain = load_model(bench.base(size), bench.device)
        merger = ModelMerger(network, [open_expert(f) for f in bench.experts(size, K)])
        scorer = bench.scorer(count)
        scorer.logprobs(plain)
        ratios, merges, forwards = [], [], []
        for place, row in enumerate(bench.rows(K)):
            merges.append(clock(merger.merge, row))
            if place % 4 == 0:  # forward passes are slow: every fourth candidate only
                forwards.append(clock(scorer.logprobs, plain))
                ratios.append((merges[-1] + clock(scorer.logprobs, network)) / forwards[-1] - 1)
        parameters = sum(p.numel() for p in network.parameters())
        gigabytes = 4e-9 * parameters * (K + 1)  # weights sum to one: the base is not read
        found[size] = {
            "parameters": parameters, "tokens": scorer.count_tokens(), "forward s": spread(forwards),
            "beyond a forward pass": spread(ratios), "merge s": spread(merges),
            "merge / forward": median(merges) / median(forwards),
            "merge GB/s": gigabytes / median(merges),
        }  # fmt: skip
        print(size, json.dumps(found[size]), flush=True)
    return found


HARNESS_TASK = {
    "task": "mixopt_mmlu", "output_type": "multiple_choice", "dataset_path": "json",
    "test_split": "train", "doc_to_text": "{{prompt}}", "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}", "target_delimiter": " ",
    "metric_list": [{"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True}],
}  # fmt: skip


def write_harness_task(bench: Bench, count: int) -> Path:
    """Write the same items as a task of lm-evaluation-harness, prompts behind the same separator."""
    folder = bench.out / "harness"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in bench.items.open()][:count]
    for row in rows:
        row["prompt"] = bench.tokenizer.eos_token + row["prompt"]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = HARNESS_TASK | {"dataset_kwargs": {"data_files": str(folder / "items.jsonl")}}
    (folder / "mixopt_mmlu.yaml").write_text(yaml.safe_dump(task))
    return folder


def pipeline(bench: Bench, args: argparse.Namespace) -> dict:
    """Time a candidate by mergekit to disk and a process of lm-evaluation-harness, and by mixopt."""
    count, size = 60, "25M"
    harness, scorer = write_harness_task(bench, count), bench.scorer(count)
    experts = bench.experts(size, K)
    base = load_model(bench.base(size), bench.device)
    merger = ModelMerger(base, [open_expert(f) for f in experts])
    folder, target = Path(args.peers).parent, bench.out / "merged"

    def score_ours(row: list[float]) -> None:
        scorer.read(scorer.logprobs(merger.merge(row)))

    def score_theirs(row: list[float]) -> None:
        models = [{"model": str(expert), "parameters": {"weight": weight}}
                  for expert, weight in zip(experts, row, strict=True)]  # fmt: skip
        plan = {"models": models, "merge_method": "linear", "dtype": "float32"}
        (bench.out / "merge.yaml").write_text(yaml.safe_dump(plan))
        run_quietly([folder / "mergekit-yaml", bench.out / "merge.yaml", target])
        run_quietly([folder / "lm_eval", "--model", "hf", "--model_args",
                     f"pretrained={target},dtype=float32", "--include_path", harness, "--tasks",
                     "mixopt_mmlu", "--batch_size", "32", "--device", bench.device.name])  # fmt: skip

    score_ours([1 / K] * K)
    ours, theirs = [], []
    for row in bench.rows(K, 3):
        shutil.rmtree(target, ignore_errors=True)
        ours.append(clock(score_ours, row))
        theirs.append(clock(score_theirs, row))
    times = spread([t / o for t, o in zip(theirs, ours, strict=True)])
    print(f"a candidate of {size}: ours {spread(ours)} s, mergekit + harness {spread(theirs)} s: "
          f"{times} times", flush=True)  # fmt: skip
    return {"ours s": ours, "theirs s": theirs, "times": times}


def run_quietly(command: list) -> None:
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=env, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")


CHOICES = """
import json, sys, time
from pathlib import Path
import torch, lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer
base, harness, items, count, device = *sys.argv[1:4], int(sys.argv[4]), sys.argv[5]
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.multiple_choice import MultipleChoiceTask
from mixopt.config.benchmarks import MultipleChoiceConfig
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval().to(device)
tokenizer = AutoTokenizer.from_pretrained(base)
config = MultipleChoiceConfig(name="m", kind="multiple_choice", items=items, max_items=count)
scorer = Scorer([MultipleChoiceTask(config, TaskContext(tokenizer, 2048))])
alone = Scorer(scorer.tasks, share_prompts=False)
tasks = TaskManager(include_path=harness, include_defaults=False)
hflm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=32, device=device, max_length=2048)
def theirs():
    found = lm_eval.simple_evaluate(model=hflm, tasks=["mixopt_mmlu"], task_manager=tasks,
                                   bootstrap_iters=0, log_samples=False)
    return found["results"]["mixopt_mmlu"]["acc_norm,none"]
def timed(run):
    start = time.perf_counter(); value = run(); return time.perf_counter() - start, value
runs = []
theirs(); scorer.logprobs(model); alone.logprobs(model)
for _ in range(3):
    t, a = timed(theirs)
    o, b = timed(lambda: scorer.read(scorer.logprobs(model))["m"].score)
    p, c = timed(lambda: alone.read(alone.logprobs(model))["m"].score)
    runs.append([t, o, p, a, b, c])
print("RUNS", json.dumps(runs), scorer.count_tokens(), alone.count_tokens())
"""


def choices(bench: Bench, args: argparse.Namespace) -> dict:
    """Time multiple choice on one model in memory: harness, mixopt, mixopt without shared prompts."""
    count = 150
    harness = write_harness_task(bench, count)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1",
                        "HF_DATASETS_OFFLINE": "1"}  # fmt: skip
    done = subprocess.run([args.peers, "-c", CHOICES, str(bench.base("25M")), str(harness),
                           str(bench.items), str(count), bench.device.name],
                          capture_output=True, text=True, env=env, check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    line = next(line for line in done.stdout.splitlines() if line.startswith("RUNS"))
    runs, tokens, apart = json.loads(line[5 : line.rindex("]") + 1]), *line.split()[-2:]
    found = {
        "harness / ours": [r[0] / r[1] for r in runs],
        "not shared / shared": [r[2] / r[1] for r in runs],
        "accuracies (harness, ours, not shared)": runs[0][3:],
        "tokens read (shared, not shared)": [int(tokens), int(apart)],
    }
    print(json.dumps(found), flush=True)
    return found


MEMORY = """
import json, resource, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
import engine
from mixopt.evaluation.layerwise.scorer import LayerwiseScorer
shared, out, way, k, m, budget, device = Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:9]
k, m, budget, device = int(k), int(m), int(budget), engine.Device.choose(device)
bench = engine.Bench(shared, out, device)
scorer, rows = bench.scorer(8), bench.rows(k, m)
base, experts = bench.base("100M"), [engine.open_expert(f) for f in bench.experts("100M", k)]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if device.name == "cuda":
    peak = torch.cuda.max_memory_allocated
before = peak()
import time
start = time.perf_counter()
if way == "streamed":
    stream = LayerwiseScorer(engine.Checkpoint(base), experts, device, memory_bytes=budget)
    flats = stream.logprobs(scorer, rows)
else:
    merger = engine.ModelMerger(engine.load_model(base, device), experts, resident=True)
    flats = [scorer.logprobs(merger.merge(row)) for row in rows]
size = sum(map(engine.Checkpoint(base).size_bytes, engine.Checkpoint(base).names))
print("PEAK", json.dumps([peak() - before, size, time.perf_counter() - start, float(flats[0].sum())]))
"""


def memory(bench: Bench, args: argparse.Namespace) -> dict:
    """Measure peak memory at M = 32, K = 8, 100M parameters, float32: streamed and resident.

    It is that of the process on a CPU, and that of tensors on the card on a GPU.
    """
    k, budget = 8, 1 << 30
    bench.experts("100M", k)
    found = {}
    for way in ("streamed", "resident"):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(Path(__file__).parent), str(args.shared), str(args.out),
             way, str(k), str(M), str(budget), bench.device.name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        line = next(line for line in done.stdout.splitlines() if line.startswith("PEAK"))
        peak, size, seconds, check = json.loads(line[5:])
        found[way] = {"peak GB": peak / 1e9, "models": peak / size, "s": seconds, "sum": check}
    found["limit GB"] = (2 * size + budget) / 1e9
    print(json.dumps(found), flush=True)
    return found


def disk(bench: Bench, args: argparse.Namespace) -> dict:
    """Measure time and peak memory of merging eight experts of 100M to disk, beside mergekit."""
    k, size = 8, "100M"
    experts, weights = bench.experts(size, k), bench.rows(k, 1)[0]
    pairs = list(zip(experts, weights, strict=True))
    plan = {"models": [{"model": str(f), "parameters": {"weight": w}} for f, w in pairs],
            "merge_method": "linear", "dtype": "float32"}  # fmt: skip
    (bench.out / "merge.yaml").write_text(yaml.safe_dump(plan))
    ours = [sys.executable, "-m", "mixopt", "merge", bench.base(size),
            *(word for f, w in pairs for word in ("-e", f"{f}={w}"))]  # fmt: skip
    theirs = [Path(args.peers).parent / "mergekit-yaml", bench.out / "merge.yaml"]
    found: dict = {"ours": [], "mergekit": []}
    for _ in range(3):
        for name, command in (("ours", [*ours, "-o"]), ("mergekit", theirs)):
            target = bench.out / f"merged-{name}"
            shutil.rmtree(target, ignore_errors=True)
            found[name].append(measured([*command, target]))
    merged = [Checkpoint(bench.out / f"merged-{name}") for name in found]
    apart = max(float((merged[0].read(n) - merged[1].read(n)).abs().max()) for n in merged[0].names)
    found["largest difference"] = apart
    for what, place in (("s", 0), ("peak GB", 1)):
        each = {name: [run[place] for run in found[name]] for name in ("ours", "mergekit")}
        ratio = spread([o / t for o, t in zip(each["ours"], each["mergekit"], strict=True)])
        print(f"{what}: ours {spread(each['ours'])}, mergekit {spread(each['mergekit'])}; ours / "
              f"mergekit {ratio}", flush=True)  # fmt: skip
    print(f"largest difference of a weight {apart:.1e}", flush=True)
    return found


def measured(command: list) -> list[float]:
    """Return seconds and peak resident memory (GB) of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    message = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(message.decode()[-2000:])
    return [time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9]


PARTS = {f.__name__: f for f in (overhead, pipeline, choices, memory, disk)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu")
    parser.add_argument("--peers", help="Python of an environment with mergekit and lm_eval.")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.set_verbosity_error()
    progress.disable_progress_bar()
    bench = Bench(args.shared, args.out, Device.choose(args.device))
    print(f"device: {bench.device.name}", flush=True)
    for name in args.parts:
        if name in ("pipeline", "choices", "disk") and not args.peers:
            print(f"{name}: left out, no --peers")
            continue
        print(f"--- {name}", flush=True)
        found = PARTS[name](bench, args)
        (args.out / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
