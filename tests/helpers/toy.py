"""A study small enough for a test: three domains of simple text, a tiny base, real training."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import yaml

import mixopt

SENTENCES = {
    "birds": "the small bird sings in a green tree and the old owl sleeps by day",
    "ships": "a grey ship sails over cold water while sailors pull long wet ropes",
    "sums": "one and two make three but two and two make four not five or six",
}
PHASES = [
    {"name": "stable", "tokens": 15_000},
    {"name": "anneal", "tokens": 5_000, "base_tokens": 2_000,
     "search": {"rounds": [8], "lower": {"sums": 0.5}}},
]  # fmt: skip
"""Two phases of a target run; the second continues the base of the first."""
WORDS = {domain: sentence.split() for domain, sentence in SENTENCES.items()}


def text(domain: str, rng: random.Random, words: int = 60) -> str:
    return " ".join(rng.choice(WORDS[domain]) for _ in range(words)) + "."


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_study(folder: Path, **changes: Any) -> Path:
    """A study over three toy domains; `changes` replace whole sections of its YAML."""
    rng = random.Random(0)
    for domain in WORDS:
        rows = [{"text": text(domain, rng), "page": f"{domain}/{i // 2}"} for i in range(160)]
        write_jsonl(folder / "data" / f"{domain}.jsonl", rows)
        source = {"kind": "files", "paths": [f"../data/{domain}.jsonl"], "group": "page"}
        expert = {"domain": domain, "text": {**source, "part": "train"}}
        benchmark = {
            "name": f"{domain}_heldout", "kind": "bits_per_byte", "capability": domain,
            "own_domain": domain, "text": {**source, "part": "heldout"}, "max_items": 6,
        }  # fmt: skip
        _dump(folder / "experts" / f"{domain}.yaml", expert)
        _dump(folder / "benchmarks" / f"{domain}.yaml", benchmark)
    items = [
        {
            "id": i,
            "prompt": text("birds", rng, 5)[:-1],
            "choices": ["owl", "ship", "six"],
            "answer": 0,
        }
        for i in range(8)
    ]
    write_jsonl(folder / "data" / "choice.jsonl", items)
    choice = {"name": "choice", "kind": "multiple_choice", "items": "../data/choice.jsonl",
              "capability": "birds", "role": "holdout"}  # fmt: skip
    _dump(folder / "benchmarks" / "choice.yaml", choice)
    rows = [
        {"prompt": "the small", "target": " bird sings"},
        {"prompt": "two and", "target": " two"},
    ]
    write_jsonl(folder / "data" / "continue.jsonl", rows)
    _dump(folder / "benchmarks" / "continue.yaml", {
        "name": "continue", "kind": "continuation", "items": "../data/continue.jsonl",
        "capability": "birds",
    })  # fmt: skip
    plain = study_plain() | changes
    # candidates are merged and experts as long as runs, unless a test says otherwise
    plain["search"] = {"method": "mergemix"} | plain["search"]
    training = plain["training"]
    plain["training"] = {"expert_tokens": training["tokens"]} | training
    return _dump(folder / "toy.yaml", plain)


def study_plain() -> dict[str, Any]:
    return {
        "name": "toy",
        "base": {
            "kind": "build",
            "config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                       "num_attention_heads": 2, "tie_word_embeddings": True},
            "vocabulary": 300,
            "context": 32,
            "training": {"tokens": 8000, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 9},
        },
        "experts": "experts/*.yaml",
        "training": {"tokens": 4000, "learning_rate": 1e-2, "batch_tokens": 256,
                     "max_epochs": 9, "average_checkpoints": 2},
        "benchmarks": "benchmarks/*.yaml",
        "search": {"rounds": [8, 3], "method": "mergemix"},
        "target": {"tokens": 20_000, "max_repetition": 9},
        "exports": [{"format": "yaml", "out": "mixture.yaml"}],
    }  # fmt: skip


def load(folder: Path, path: Path | None = None, **options: Any) -> mixopt.Study:
    """The toy study at `path`, with its results and corpora in `folder`."""
    path = path or folder / "toy.yaml"
    return mixopt.Study.load(path, folder / "out", cache=folder / "cache", device="cpu", **options)


def copy_trained(trained: Path, folder: Path) -> Path:
    """`folder` with the base, experts and corpora of a toy study that was trained before.

    Artifacts are found by their keys, which do not depend on where a study lies.
    """
    for name in ("out/artifacts", "cache"):
        shutil.copytree(trained / name, folder / name, dirs_exist_ok=True)
    return folder


def forget_expert(folder: Path, name: str) -> None:
    """Delete one trained expert of the toy study in `folder`."""
    (expert,) = (folder / "out" / "artifacts" / "experts").glob(f"{name}-*")
    shutil.rmtree(expert)


def _dump(path: Path, plain: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    return path
