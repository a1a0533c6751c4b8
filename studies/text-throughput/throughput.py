"""Tokenizing beside `encode_batch`, the search for benchmark items beside one word by word, and samples.

    python studies/text-throughput/throughput.py [tokenize overlap sample] --shared ../shared --out OUT

Ratios are of runs in turns in one process, so that other work on the machine meets both.
"""

import argparse
import gzip
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.config.text import FilesTextConfig
from mixopt.config.training import BuiltBaseConfig, TrainingConfig
from mixopt.data.contamination import RUN, RunIndex
from mixopt.data.sources import read_documents
from mixopt.data.text_sample import find_sample
from mixopt.data.tokenization import tokenize
from mixopt.data.tokenizer import build_tokenizer
from mixopt.io.files import publish_folder

DOMAINS = ("biomedical", "code", "literature")
REPEATS = 5
GIB = 1 << 30


def read_texts(shared: Path, domain: str) -> list[str]:
    with gzip.open(
        shared / "corpora" / domain / "train.jsonl.gz", "rt", encoding="utf-8"
    ) as stream:
        return [json.loads(line)["text"] for line in stream]


def take(texts: list[str], characters: int) -> list[str]:
    ends = np.cumsum([len(text) for text in texts])
    return texts[: int(np.searchsorted(ends, characters)) + 1]


def in_turns(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[list, list]:
    """Return wall and CPU seconds (`n x 2`) of both, run in turns."""
    times: tuple[list, list] = ([], [])
    for _ in range(REPEATS):
        for each, run in zip(times, (ours, theirs), strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            each.append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def spread(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def report(what: str, size: float, ours: list, theirs: list, *, faster: bool) -> dict:
    one, other = np.array(ours), np.array(theirs)
    ratio = other / one if faster else one / other
    found = {
        "MB": size, "ours MB/s": spread(size / one[:, 0]), "theirs MB/s": spread(size / other[:, 0]),
        "wall ratio": spread(ratio[:, 0]), "CPU ratio": spread(ratio[:, 1]),
    }  # fmt: skip
    print(f"{what}: {found}", flush=True)
    return found


def measure_tokenizing(shared: Path, out: Path) -> dict:
    """Time text in a JSONL file to a corpus on disk, and `encode_batch` of the same texts in memory."""
    found = {}
    for vocabulary in (32768,):
        base = BuiltBaseConfig(kind="build", vocabulary=vocabulary, tokenizer_bytes=6_000_000,
                               training=TrainingConfig(tokens=1))  # fmt: skip
        every = [text for domain in DOMAINS for text in read_texts(shared, domain)[:1500]]
        tokenizer = build_tokenizer(every, base)
        for domain in DOMAINS:
            texts = take(read_texts(shared, domain), 4_000_000)
            file = out / f"{domain}.jsonl"
            file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
            source = FilesTextConfig(paths=[str(file)])

            def ours(
                source: FilesTextConfig = source, domain: str = domain, tokenizer: Any = tokenizer
            ) -> None:
                with publish_folder(out / "corpus" / f"{domain}-{time.time_ns()}") as scratch:
                    tokenize(read_documents(source), tokenizer, scratch, workplace=out / "work",
                             shard_tokens=1 << 27, name=domain)  # fmt: skip

            def theirs(texts: list = texts, backend: Any = tokenizer.backend_tokenizer) -> None:
                backend.encode_batch(texts, add_special_tokens=False)

            size = sum(len(text.encode()) for text in texts) / 1e6
            times = in_turns(ours, theirs)
            name = f"{domain}, vocabulary {vocabulary}"
            found[name] = report(name, size, *times, faster=False)
    return found


class WordByWord:
    """The search as it was: words by a regular expression, numbers by a dictionary, one core."""

    def __init__(self, texts: list[str]) -> None:
        self.numbers: dict[str, int] = {}
        rng = np.random.default_rng(13)
        self.factors = rng.integers(1, 2**63, RUN, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        for text in texts:
            for word in re.findall(r"\w+", text.lower()):
                self.numbers.setdefault(word, len(self.numbers) + 1)
        self.values = rng.integers(1, 2**63, len(self.numbers) + 1, dtype=np.uint64)
        runs = [np.unique(self.hash(text)) for text in texts]
        owners = np.repeat(np.arange(len(texts)), [len(each) for each in runs])
        order = np.argsort(np.concatenate(runs), kind="stable")
        self.runs, self.owners = np.concatenate(runs)[order], owners[order]

    def hash(self, text: str) -> np.ndarray:
        words = re.findall(r"\w+", text.lower())
        if len(words) < RUN:
            return np.empty(0, dtype=np.uint64)
        places = np.fromiter((self.numbers.get(word, 0) for word in words), np.intp, len(words))
        windows = np.lib.stride_tricks.sliding_window_view(places, RUN)
        windows = windows[(windows > 0).all(axis=1)]
        return (self.values[windows] * self.factors).sum(axis=1, dtype=np.uint64)

    def find(self, texts: list[str]) -> set[int]:
        found: set[int] = set()
        for text in texts:
            hashes = np.unique(self.hash(text))
            starts = np.searchsorted(self.runs, hashes, side="left")
            ends = np.searchsorted(self.runs, hashes, side="right")
            for start, end in zip(starts, ends, strict=True):
                found |= set(self.owners[start:end].tolist())
        return found


def measure_overlap(shared: Path, out: Path) -> dict:
    """Time the search for 1,000 items in texts in memory; a tenth of them are in it."""
    found = {}
    for domain in DOMAINS:
        texts, rng = read_texts(shared, domain), random.Random(0)
        others = read_texts(shared, "legal")
        items = [(texts if number % 10 == 0 else others)[rng.randrange(1000)][:400]
                 for number in range(1000)]  # fmt: skip
        index, old = RunIndex({"items": items}), WordByWord(items)
        assert index.find_in_all(texts) == old.find(texts)
        times = in_turns(lambda: index.find_in_all(texts), lambda: old.find(texts))  # noqa: B023
        size = sum(len(text.encode()) for text in texts) / 1e6
        found[domain] = report(f"overlap, {domain}", size, *times, faster=True)
    return found


def measure_sample(shared: Path, out: Path) -> dict:
    """Time samples of 4M tokens from four and forty times the same text, and from sparse files."""
    lines = "".join(
        json.dumps({"text": text}) + "\n" for text in read_texts(shared, "code")
    ).encode()
    found = {}
    for copies in (4, 40):
        folder = out / f"copies-{copies}"
        folder.mkdir(exist_ok=True)
        for number in range(copies):
            (folder / f"{number}.jsonl").write_bytes(lines)
        found[f"{copies * len(lines) / 1e6:,.0f} MB"] = time_sample(folder)
    folder = out / "sparse"
    folder.mkdir(exist_ok=True)
    for number in range(4):
        with (folder / f"{number}.jsonl").open("wb") as stream:
            for part in range(2):
                stream.seek(part * 128 * GIB)
                stream.write(b"\n" + lines)
            stream.truncate(256 * GIB)
    found["4 sparse files of 256 GiB"] = time_sample(folder)
    return found


def time_sample(folder: Path) -> dict:
    start = time.perf_counter()
    sample = find_sample(FilesTextConfig(paths=[str(folder / "*")]), 1 << 22, 0)
    assert sample is not None
    sizes = [len(document.text) for document in sample.read()]
    took = {"s": time.perf_counter() - start, "MB read": sum(sizes) / 1e6}
    print(folder.name, took, flush=True)
    return took


PARTS = {"tokenize": measure_tokenizing, "overlap": measure_overlap, "sample": measure_sample}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.parts:
        found = PARTS[name](args.shared, args.out)
        (args.out / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
