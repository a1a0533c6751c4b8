"""Olmix config (YAML): `mix`, a nested mapping with `weight` and `repetition_factor`.

A domain called `source:topic` becomes a topic of its source, and its weight a share of that source.
`repetition_factor` is the domain's repetition limit, or what the budget needs with a margin: olmix
hands it to OLMo-core, which refuses a run that reads more, and takes no entry without it.

Ratios: of tokens. Source: olmix/aliases.py and
configs/examples/launch/data_proportions/mix_heavy_code.yaml at commit 9586977 (read; not run).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, dig_mapping, parse_weight, read_yaml
from mixopt.exporters.repetition import find_most
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture

PROPERTIES = ("weight", "repetition_factor")
"""Keys of a source that are not topics."""


def _write(request: ExportRequest) -> str:
    mix: dict[str, Any] = {}
    topics: dict[str, dict[str, float]] = {}
    for domain, ratio in request.ratios.items():
        source, _, topic = domain.partition(":")
        if topic in PROPERTIES:
            raise ExportError(
                f"Domain {domain!r}: olmix reads a topic called {topic!r} as a property of its source; "
                "rename it."
            )
        if topic:
            topics.setdefault(source, {})[topic] = ratio
            mix.setdefault(source, {})
        else:
            mix[domain] = {"weight": ratio, "repetition_factor": find_most(request, domain)}
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
                "repetition_factor": find_most(request, f"{source}:{topic}"),
            }
    return request.to_yaml({"mix": mix})


def _read(text: str, _: Options) -> list[ParsedMixture]:
    weights: dict[str, float] = {}
    for source, node in dig_mapping(read_yaml(text), "mix").items():
        if not isinstance(node, Mapping):
            weights[source] = parse_weight(node, f"mix.{source}")
            continue
        weight = parse_weight(dig(node, "weight"), f"mix.{source}.weight")
        topics = {name: topic for name, topic in node.items() if name not in PROPERTIES}
        for name, topic in topics.items():
            inner = topic["weight"] if isinstance(topic, Mapping) and "weight" in topic else topic
            share = parse_weight(inner, f"mix.{source}.{name}.weight")
            weights[f"{source}:{name}"] = weight * share
        if not topics:
            weights[source] = weight
    return [ParsedMixture(weights)]


OLMIX = ExportFormat(write=_write, read=_read, sums_to_one=True)
