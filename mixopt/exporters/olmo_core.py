"""OLMo-core: a source mixture, for `SourceMixtureList.from_dict` and `SourceMixtureDatasetConfig`.

OLMo-core draws tokens, wants ratios that sum to one, and ends the run where a source would be read
more than `max_repetition_ratio` times; sources without a share are left out (read in
src/olmo_core/data/source_mixture.py and built, 2026-11).
"""

import math
from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import dig, dump_yaml, entries, pair, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Reading

MARGIN = 1.01
"""Above the repetition that is needed: files are counted in whole instances."""


def _write(request: ExportRequest) -> str:
    sources = []
    for domain, ratio in request.ratios.items():
        if ratio > 0:
            source = {"source_name": domain, "target_ratio": ratio,
                      "paths": [request.path_of(domain)]}  # fmt: skip
            sources.append(source | _repetition(request, domain))
    return request.comment() + dump_yaml({"sources": sources})


def _repetition(request: ExportRequest, domain: str) -> dict[str, float]:
    """The trainer's own cap: ours, or what the budget needs where that is a little more.

    A proposal on its cap would fail there by the rounding of its ratio.
    """
    need = math.ceil(100 * MARGIN * request.seen.get(domain, 0.0)) / 100
    most = max(1.0, need, request.max_repetition.get(domain, 1.0))
    return {"max_repetition_ratio": float(most)} if most > 1 else {}


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    sources = entries(read_yaml(text), "sources")
    names = [dig(source, "source_name") for source in sources]
    weights = [dig(source, "target_ratio") for source in sources]
    return [Reading(pair(names, weights, "sources"))]


OLMO_CORE = Format(write=_write, read=_read, sums_to_one=True)
"""YAML; a path may be a glob. One file per phase."""
