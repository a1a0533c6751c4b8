"""Olmix: its nested mix, where a topic's weight is a share of its source.

A domain called `source:topic` becomes a topic of its source; the others are sources. Each carries
the `repetition_factor` that its cap says (read in olmix/aliases.py and its examples, 2026-11).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.parsing import dig, dump_yaml, mapping, number, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Reading

OURS = ("weight", "repetition_factor")


def _write(request: ExportRequest) -> str:
    mix: dict[str, Any] = {}
    topics: dict[str, dict[str, float]] = {}
    for domain, ratio in request.ratios.items():
        source, _, topic = domain.partition(":")
        if topic in OURS:
            raise ExportError(
                f"Domain {domain!r}: olmix reads a topic called {topic!r} as a property of its source; "
                "rename it."
            )
        if topic:
            topics.setdefault(source, {})[topic] = ratio
            mix.setdefault(source, {})
        else:
            mix[domain] = {"weight": ratio, **_repetition(request, domain)}
    for source, shares in topics.items():
        if mix[source]:
            raise ExportError(
                f"{source!r} is a domain and a source of topics ({source}:{next(iter(shares))}); olmix "
                "takes one or the other: rename one."
            )
        total = sum(shares.values())
        mix[source] = {"weight": total}
        for topic, ratio in shares.items():
            mix[source][topic] = {
                "weight": ratio / total if total else 0.0,
                **_repetition(request, f"{source}:{topic}"),
            }
    return request.comment() + dump_yaml({"mix": mix})


def _repetition(request: ExportRequest, domain: str) -> dict[str, float]:
    cap = request.max_repetition.get(domain)
    return {} if cap is None else {"repetition_factor": float(cap)}


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    told: dict[str, float] = {}
    for source, node in mapping(read_yaml(text), "mix").items():
        if not isinstance(node, Mapping):
            told[source] = number(node, f"mix.{source}")
            continue
        weight = number(dig(node, "weight"), f"mix.{source}.weight")
        children = {name: child for name, child in node.items() if name not in OURS}
        for topic, child in children.items():
            inner = child["weight"] if isinstance(child, Mapping) and "weight" in child else child
            told[f"{source}:{topic}"] = weight * number(inner, f"mix.{source}.{topic}.weight")
        if not children:
            told[source] = weight
    return [Reading(told)]


OLMIX = Format(write=_write, read=_read, sums_to_one=True)
"""YAML with the one key `mix`."""
