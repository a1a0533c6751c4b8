"""A text that is split into buckets, and perplexity computed by hand, for tests."""

import numpy as np
import torch
import toy

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.data.study_corpora import StudyCorpora

ROWS = [
    {
        "text": "bird " * (1 + i % 7) + str(i),
        "meta": {"score": i / 40, "lang": "en" if i % 3 else "de"},
    }
    for i in range(40)
] + [{"text": "", "meta": {"score": 0.0, "lang": "en"}}]


class LengthAsPerplexity:
    """Stands for a model: a text's perplexity is its number of digits."""

    opened = 0

    def compute_key(self, path):
        return f"digits {path}"

    def open(self, path):
        self.opened += 1
        return lambda texts: (float(sum(c.isdigit() for c in text)) for text in texts)


def open_corpora(folder, split, rows=ROWS, **text):
    path = toy.write_study(folder / "s")
    toy.write_jsonl(folder / "s" / "data" / "birds.jsonl", rows)
    expert = {"domain": "birds", "split": split,
              "text": {"kind": "files", "paths": ["../data/birds.jsonl"], **text}}  # fmt: skip
    (folder / "s" / "experts" / "birds.yaml").write_text(toy.yaml.safe_dump(expert))
    (folder / "s" / "benchmarks" / "birds.yaml").unlink()
    stores = ArtifactStore(folder / "journal"), ArtifactStore(folder / "cache")
    return StudyCorpora(load_study(path), *stores, models=LengthAsPerplexity())


def perplexity_alone(model, tokenizer, text, context):
    """The perplexity of one text, token by token."""
    ids = tokenizer(text)["input_ids"]
    # its own start token, or the end of the text before
    ids = [tokenizer.eos_token_id] * (ids[0] != tokenizer.bos_token_id) + ids
    ids = ids[:context]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    losses = [-torch.log_softmax(logits[i], 0)[ids[i + 1]].item() for i in range(len(ids) - 1)]
    return np.exp(np.mean(losses))
