"""The worlds of the arena: domains, natural mixture, base, benchmarks and utilities of each.

Three worlds are for development; five are for the test, which is looked at once. Metrics are bits per
byte (lower is better) of a benchmark's whole items (`NAME.item`) and of their answers (`NAME.answer`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

SHARED = Path(__file__).resolve().parents[3] / "shared"
UNIT = 150 * 1536
"""Tokens of a run of length 1."""
LENGTHS = tuple(steps * 1536 for steps in (19, 38, 75, 150, 300, 600))
"""Tokens at which a run of the pool is scored: 1/8, 1/4, 1/2, 1, 2 and 4 units."""
CONTEXT = 96
ITEMS = 64
ITEM_CHARACTERS = 240
ANSWER_CHARACTERS = 120

CAPABILITIES = {
    "math": ("gsm8k_test", "svamp", "mmlu_math"),
    "code": ("humaneval", "mbpp_test", "mmlu_cs"),
    "medicine": ("mmlu_medical", "pubmedqa_test", "pubmedqa_conclusion"),
    "law": ("dc_code_continuation", "mmlu_law"),
    "dialogue": ("sgd_next_turn", "sgd_response_choice"),
    "language": ("eltec_eng_continuation", "lambada", "copa", "winogrande"),
    "reasoning": ("logical_deduction",),
}
OWNER = {
    "math": "math",
    "code": "code",
    "medicine": "biomedical",
    "law": "legal",
    "dialogue": "dialogue",
    "language": "literature",
    "reasoning": None,
}
"""Domain whose text resembles a capability most; what a person would add for it."""


@dataclass(frozen=True)
class Utility:
    """What a user of a world wants.

    Attributes:
        name: Name in tables.
        weights: Weight of each capability, which sum to 1.
        worst: Whether the worst capability counts instead of their mean.
    """

    name: str
    weights: dict[str, float]
    worst: bool = False


@dataclass(frozen=True)
class World:
    """One world.

    Attributes:
        name: A letter.
        natural: Natural mixture by domain.
        base_steps: Steps of 1,536 tokens that the base is trained for, on the natural mixture.
        seed: Seed of base and runs.
        test: Whether it is looked at once, at the end.
    """

    name: str
    natural: dict[str, float]
    base_steps: int
    seed: int
    test: bool = False

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.natural)

    @property
    def owned(self) -> tuple[str, ...]:
        """Capabilities whose own domain is in the world."""
        return tuple(name for name, domain in OWNER.items() if domain in self.natural)

    @cached_property
    def compositions(self) -> dict[str, np.ndarray]:
        """Ratios (`d`) of the 36 mixtures of the pool, by name."""
        d = len(self.natural)
        natural = np.array(list(self.natural.values()))
        named = {"natural": natural, "uniform": np.full(d, 1 / d)}
        for place, domain in enumerate(self.domains):
            named[f"pure-{domain}"] = np.eye(d)[place]
        for place, domain in enumerate(self.domains):
            named[f"half-{domain}"] = (np.eye(d)[place] + natural) / 2
        rng = np.random.default_rng([self.seed, 17])
        for number in range(36 - len(named)):
            # half of them anywhere, half near natural
            alpha = np.ones(d) if number % 2 == 0 else 4 * natural + 0.5
            named[f"spread-{number:02d}"] = rng.dirichlet(alpha)
        return named

    def runs(self) -> Iterator[tuple[str, int]]:
        """Yield name and seed of the pool's runs; the first ones are worth most."""
        repeated = ["natural", "uniform", *(f"half-{name}" for name in self.domains[:3]),
                    "spread-00", "spread-01", "spread-02"]  # fmt: skip
        yield from (("natural", seed) for seed in range(3))
        yield from ((name, 0) for name in self.compositions if name != "natural")
        yield from ((name, seed) for seed in (1, 2) for name in repeated[1:])

    def utilities(self) -> list[Utility]:
        """Return problems: each capability, two of them, mean, worst, and what no domain owns."""
        owned = self.owned
        small = min(owned, key=lambda name: self.natural[OWNER[name] or ""])
        large = max(owned, key=lambda name: self.natural[OWNER[name] or ""])
        each = [Utility(name, {name: 1.0}) for name in owned]
        share = dict.fromkeys(owned, 1 / len(owned))
        off = [name for name in CAPABILITIES if name not in owned]
        return [
            *each,
            Utility("mean", share),
            Utility(f"70 {small} 30 {large}", {small: 0.7, large: 0.3}),
            Utility(f"{owned[0]} and {owned[-1]}", {owned[0]: 0.5, owned[-1]: 0.5}),
            Utility("worst", share, worst=True),
            *(Utility(f"off-domain {name}", {name: 1.0}) for name in off),
        ]


WORLDS = {
    world.name: world
    for world in (
        World("A", {"literature": 0.44, "legal": 0.18, "dialogue": 0.14, "biomedical": 0.12,
                    "math": 0.06, "code": 0.06}, 1500, seed=101),
        World("B", {"math": 0.30, "code": 0.30, "dialogue": 0.22, "literature": 0.08,
                    "biomedical": 0.05, "legal": 0.05}, 4000, seed=102),
        World("C", {"literature": 0.50, "code": 0.20, "biomedical": 0.15, "legal": 0.10,
                    "dialogue": 0.05}, 2500, seed=103),
        World("D", {"biomedical": 0.20, "math": 0.18, "legal": 0.17, "code": 0.16,
                    "dialogue": 0.15, "literature": 0.14}, 1000, seed=104, test=True),
        World("E", {"legal": 0.55, "biomedical": 0.20, "literature": 0.15, "math": 0.06,
                    "code": 0.04}, 2000, seed=105, test=True),
        World("F", {"code": 0.60, "biomedical": 0.25, "literature": 0.10, "math": 0.05},
              3000, seed=106, test=True),
        World("G", {"dialogue": 0.35, "biomedical": 0.30, "code": 0.15, "legal": 0.10,
                    "literature": 0.05, "math": 0.05}, 1500, seed=107, test=True),
        World("H", {"math": 0.40, "literature": 0.30, "dialogue": 0.20, "biomedical": 0.07,
                    "legal": 0.03}, 2000, seed=108, test=True),
    )
}  # fmt: skip


def write_study(world: World, folder: Path) -> Path:
    """Write the study of a world and its benchmark items; return the YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    benchmarks = []
    for capability, names in CAPABILITIES.items():
        for name in names:
            rows = [{"text": prompt + answer} for prompt, answer in items(name)]
            path = folder / f"{name}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            text = {"kind": "files", "paths": [str(path)]}
            benchmarks.append(
                {"name": name, "kind": "bits_per_byte", "capability": capability, "text": text}
            )
    texts = {name: [str(SHARED / "corpora" / name / "train.jsonl.gz")] for name in world.domains}
    study: dict[str, Any] = {
        "name": f"arena-{world.name}",
        "seed": world.seed,
        "base": {
            "kind": "build", "architecture": "llama", "vocabulary": 2048, "context": CONTEXT,
            "ratios": world.natural,
            "config": {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2,
                       "num_attention_heads": 4, "num_key_value_heads": 4,
                       "tie_word_embeddings": True, "max_position_embeddings": 128},
            "training": {"tokens": world.base_steps * 1536, "learning_rate": 2e-3,
                         "batch_tokens": 1536, "max_epochs": 9, "warmup_share": 0.02},
        },
        "experts": [
            {"domain": name, "text": {"kind": "files", "paths": paths}}
            for name, paths in texts.items()
        ],
        "training": {"tokens": UNIT, "learning_rate": 2e-3, "batch_tokens": 1536, "max_epochs": 9},
        "benchmarks": benchmarks,
        "search": {"natural": world.natural},
        "target": {"tokens": 4 * UNIT, "max_repetition": 9},
        "executor": {"kind": "local", "checkpoint_minutes": 2},
    }  # fmt: skip
    path = folder / "arena.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def items(name: str) -> list[tuple[str, str]]:
    """Return the end of the prompt and the beginning of the right answer of a benchmark's items.

    Both fit into one window of the model, as far as the tokenizer allows; the same seeded sample of
    items serves every world.
    """
    rows = [json.loads(line) for line in (SHARED / "benchmarks" / f"{name}.jsonl").open()]
    chosen = np.random.default_rng(0).permutation(len(rows))[:ITEMS]
    pairs = []
    for row in (rows[i] for i in sorted(chosen)):
        prompt = row["prompt"]
        answer = row["target"] if "target" in row else row["choices"][row["answer"]]
        if "target" not in row and prompt:
            answer = " " + answer
        answer = answer[:ANSWER_CHARACTERS]
        pairs.append((prompt[max(0, len(prompt) + len(answer) - ITEM_CHARACTERS) :], answer))
    return pairs
