"""Plain JSON or YAML, for any other tool.

Keys: `token_ratios`, `document_ratios` (if tokens per document are known), `paths`, `repetition`,
`verdict`; a schedule has `phases` with `name`, `tokens`, ratios and `verdict`.

Ratios: of tokens and of documents; zeros are kept.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mixopt.exporters.config_io import (
    dig,
    dig_list,
    dump_yaml,
    read_json,
    read_yaml,
    weights_by_name,
)
from mixopt.exporters.request import ExportFormat, ExportRequest, ParsedMixture


def _to_dict(request: ExportRequest) -> dict[str, Any]:
    several = len(request.phases) > 1
    phases = []
    for phase in request.phases:
        ratios = _ratios(replace(request, phases=(phase,)))
        end = {"verdict": phase.proposal.verdict}
        phases.append({"name": phase.name, "tokens": phase.tokens, **ratios, **end})
    config: dict[str, Any] = {"phases": phases} if several else _ratios(request)
    if request.paths:
        config["paths"] = {
            d: p if isinstance(p, str) else list(p) for d, p in request.paths.items()
        }
    if request.repetition:
        config["repetition"] = {name: round(n, 4) for name, n in request.repetition.items()}
    return config if several else config | {"verdict": request.proposal.verdict}


def _ratios(request: ExportRequest) -> dict[str, Any]:
    config: dict[str, Any] = {"token_ratios": dict(request.ratios)}
    known = request.proposal.tokens_per_document
    if all(name in known for name, ratio in request.ratios.items() if ratio):
        config["document_ratios"] = request.document_ratios()
    return config


def _parse(config: Any) -> list[ParsedMixture]:
    if not isinstance(config, Mapping) or "phases" not in config:
        return [ParsedMixture(weights_by_name(dig(config, "token_ratios"), "token_ratios"))]
    mixtures = []
    for phase in dig_list(config, "phases"):
        weights = weights_by_name(dig(phase, "token_ratios"), "token_ratios")
        mixtures.append(ParsedMixture(weights, phase=str(dig(phase, "name"))))
    return mixtures


JSON = ExportFormat(
    write=lambda request: json.dumps(_to_dict(request), indent=2) + "\n",
    read=lambda text, _: _parse(read_json(text)),
    phases=True,
)

YAML = ExportFormat(
    write=lambda request: dump_yaml(_to_dict(request)),
    read=lambda text, _: _parse(read_yaml(text)),
    phases=True,
)
