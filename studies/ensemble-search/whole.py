"""Time of `Study.propose` itself, from scored experts to a decision: 8 experts, a million scored tokens.

    OMP_NUM_THREADS=1 python studies/ensemble-search/whole.py --out OUT [--experts 8] [--tokens N]

A study of domains of generated text with a tiny model, whose benchmarks have about N tokens. Experts are
trained and scored first. Then all that a proposal takes is timed in this process, by part: the search of
candidates, surrogates, ensembles and the decision, and the merges that check it, which are forward
passes and depend on the model. All times are CPU seconds.
"""

import argparse
import cProfile
import json
import pstats
import random
import time
from pathlib import Path

import yaml

from mixopt.study import Study

WORDS, SHARED_WORDS = 60, 200
"""Words of a domain alone, and of all domains."""
PER_ITEM = 250  # words of an item, of two tokens each
PARTS = {
    "surrogates": ("proxy_trust.py", "fit"),
    "surrogate's proposals": ("optimize.py", "search_mixtures"),
    "decision": ("decide.py", "decide_study"),
    "best ensembles, 32 resamples": ("gains.py", "search_resampled"),
    "ensembles' scores": ("ensemble_scores.py", "ensemble_scores"),
    "merges that check it": ("evaluator.py", "build"),
}
"""File and name of the function whose cumulative time is a part's."""


def write_study(folder: Path, k: int, tokens: int) -> Path:
    rng = random.Random(0)
    common = [f"c{n}" for n in range(SHARED_WORDS)]
    experts, benchmarks = [], []
    for domain in range(k):
        own = [f"d{domain}w{n}" for n in range(WORDS)]

        def page(words: int, own: list[str] = own) -> str:
            return " ".join(rng.choice(own if rng.random() < 0.5 else common) for _ in range(words))

        text, items = folder / f"text{domain}.jsonl", folder / f"items{domain}.jsonl"
        text.write_text("".join(json.dumps({"text": page(200)}) + "\n" for _ in range(300)))
        count = tokens // k // (2 * PER_ITEM)
        items.write_text("".join(
            json.dumps({"prompt": "", "target": page(PER_ITEM)}) + "\n" for _ in range(count)
        ))  # fmt: skip
        experts.append({"domain": f"d{domain}", "text": {"kind": "files", "paths": [str(text)]}})
        benchmarks.append({"name": f"b{domain}", "kind": "continuation", "items": str(items),
                           "capability": f"c{domain}", "max_items": count})  # fmt: skip
    natural = {f"d{n}": 0.5 ** (n + 1) for n in range(k)}
    total = sum(natural.values())
    study = {
        "name": "whole",
        "base": {"kind": "build", "context": 512, "vocabulary": 400,
                 "config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                            "num_attention_heads": 2, "tie_word_embeddings": True},
                 "training": {"tokens": 100_000, "learning_rate": 1e-2, "batch_tokens": 2048,
                              "max_epochs": 99}},
        "experts": experts,
        "training": {"tokens": 100_000, "expert_tokens": 50_000, "learning_rate": 1e-2,
                     "batch_tokens": 2048, "max_epochs": 99},
        "benchmarks": benchmarks,
        "search": {"natural": {name: share / total for name, share in natural.items()}},
        "target": {"tokens": 400_000, "max_repetition": 99},
    }  # fmt: skip
    path = folder / "whole.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = write_study(args.out, args.experts, args.tokens)
    study = Study.load(path, args.out / "results", cache=args.out / "cache", device="cpu")
    search = study.open_search()
    search.evaluator.prepare()
    search.evaluator.build_expert_logprobs(range(search.evaluator.k))
    print(f"{search.evaluator.k} experts, {search.evaluator.scorer.n_targets:,} scored tokens")
    profile, start = cProfile.Profile(time.process_time), time.process_time()
    profile.enable()
    trials = study.search()
    searched = time.process_time() - start
    decision = study.propose(trials)[0].decision
    whole = time.process_time() - start
    profile.disable()
    print(f"search of {len(trials)} candidates {searched:.1f} s, proposal {whole - searched:.1f} s, "
          f"in all {whole:.1f} s")  # fmt: skip

    rows = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for part, (file, name) in PARTS.items():
        seconds = sum(
            row[3] for key, row in rows.items() if key[0].endswith(file) and key[2] == name
        )
        print(f"{part:<32}{seconds:8.1f} s")
    assert decision is not None
    print(decision.verdict)


if __name__ == "__main__":
    main()
