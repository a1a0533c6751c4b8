"""OLMo-core: a source mixture, for `SourceMixtureList.from_dict` and `SourceMixtureDatasetConfig`.

OLMo-core draws tokens, wants ratios that sum to one, and ends the run where a source would be read
more than `max_repetition_ratio` times; sources without a share are left out (read in
src/olmo_core/data/source_mixture.py and built, 2026-11).
"""

import math
from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import dig, dump_yaml, pair, read_yaml
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
    """The trainer's own cap: ours where there is one, else what the budget needs."""
    if domain in request.max_repetition:
        return {"max_repetition_ratio": max(1.0, float(request.max_repetition[domain]))}
    if request.seen.get(domain, 0) > 1:
        return {"max_repetition_ratio": math.ceil(100 * MARGIN * request.seen[domain]) / 100}
    return {}


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    sources = dig(read_yaml(text), "sources")
    names = [dig(source, "source_name") for source in sources]
    weights = [dig(source, "target_ratio") for source in sources]
    return [Reading(pair(names, weights, "sources"))]


OLMO_CORE = Format(write=_write, read=_read, sums_to_one=True)
"""YAML; a path may be a glob. One file per phase."""
