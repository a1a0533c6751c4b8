"""Warnings about a study's text and items: valid input that is probably not what was meant."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from unicodedata import category

from mixopt.config.benchmarks import BenchmarkConfig, BitsPerByteConfig, ItemsBenchmarkConfig
from mixopt.data.document import Document
from mixopt.data.heldout_text import read_heldout
from mixopt.evaluation.tasks.items import read_rows

SAMPLED_DOCUMENTS, SAMPLED_CHARACTERS = 50, 2000
"""Of a domain's text, from its beginning."""
MAX_BINARY_SHARE = 0.05
"""Share of control and replacement characters in text."""
MAX_REPEATED_SHARE = 0.02
"""Share of items that repeat another one."""


def warn_of_inputs(
    read: Callable[[str], Iterable[Document]],
    fingerprints: Mapping[str, str],
    benchmarks: Iterable[BenchmarkConfig],
) -> list[str]:
    """Return warnings about text and items.

    Args:
        read: Opens the training text of a domain.
        fingerprints: Of these texts, by domain.
        benchmarks: With their items.

    Raises:
        DataError: A text or an item file cannot be read.
    """
    return [
        *_describe_identical(fingerprints),
        *_describe_binary(read, fingerprints),
        *filter(None, map(_describe_repeated, benchmarks)),
    ]


def _describe_identical(fingerprints: Mapping[str, str]) -> list[str]:
    by_text: dict[str, list[str]] = {}
    for domain, fingerprint in fingerprints.items():
        by_text.setdefault(fingerprint, []).append(domain)
    return [
        f"Domains {' and '.join(map(repr, names))} have the same text, so no mixture of them is better "
        "than another; join them, or fix their paths."
        for names in by_text.values()
        if len(names) > 1
    ]


def _describe_binary(
    read: Callable[[str], Iterable[Document]], domains: Iterable[str]
) -> list[str]:
    shares = {}
    for domain in domains:
        documents = islice(read(domain), SAMPLED_DOCUMENTS)
        sample = "".join(document.text[:SAMPLED_CHARACTERS] for document in documents)
        shares[domain] = sum(map(_is_binary, sample)) / max(1, len(sample))
    named = [f"{n!r} ({share:.0%})" for n, share in shares.items() if share > MAX_BINARY_SHARE]
    if not named:
        return []
    return [
        f"The text of {', '.join(named)} holds control and replacement characters, as binary files or "
        "text in another encoding do; convert or filter it."
    ]


def _is_binary(character: str) -> bool:
    is_odd = character == "\ufffd" or category(character) in ("Cc", "Cn", "Co")
    return is_odd and character not in "\t\n\r\f"


def _describe_repeated(config: BenchmarkConfig) -> str | None:
    """Warn of equal items, whose ids may differ."""
    contents: list[str] = []
    if isinstance(config, BitsPerByteConfig):
        contents = [d.text for d in read_heldout(config.text, config.max_items)]
    elif isinstance(config, ItemsBenchmarkConfig):
        rows = [row for _, row in islice(read_rows(config.items), config.max_items)]
        contents = [json.dumps(row | {"id": None}, sort_keys=True, default=str) for row in rows]
    n_repeated = len(contents) - len(set(contents))
    if n_repeated <= max(1, MAX_REPEATED_SHARE * len(contents)):
        return None
    _, most = Counter(contents).most_common(1)[0]
    return (
        f"Benchmark {config.name!r}: {n_repeated} of {len(contents)} items repeat another one (one "
        f"stands there {most} times), and its error bar takes them for independent; drop the copies."
    )
