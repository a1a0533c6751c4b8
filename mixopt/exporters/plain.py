"""The proposal as plain JSON or YAML: ratios of tokens and of documents, and repetition."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mixopt.exporters.parsing import by_name, dig, dump_yaml, entries, read_json, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Part, Reading


def _plain(request: ExportRequest) -> dict[str, Any]:
    if len(request.parts) > 1:
        plain: dict[str, Any] = {"phases": [_phase(request, part) for part in request.parts]}
    else:
        plain = _ratios(request)
    if request.paths:
        plain["paths"] = dict(request.paths)
    if request.seen:
        plain["repetition"] = {name: round(v, 4) for name, v in request.seen.items()}
    return plain if len(request.parts) > 1 else plain | {"verdict": request.proposal.verdict}


def _ratios(request: ExportRequest) -> dict[str, Any]:
    told: dict[str, Any] = {"token_ratios": dict(request.ratios)}
    known = request.proposal.tokens_per_document
    if all(name in known for name, ratio in request.ratios.items() if ratio):
        told["document_ratios"] = request.document_ratios()
    return told


def _phase(request: ExportRequest, part: Part) -> dict[str, Any]:
    own = _ratios(replace(request, parts=(part,)))
    return {"name": part.name, "tokens": part.tokens, **own, "verdict": part.proposal.verdict}


def _read(plain: Any) -> list[Reading]:
    if isinstance(plain, Mapping) and "phases" in plain:
        return [
            Reading(by_name(dig(row, "token_ratios"), "token_ratios"), phase=str(dig(row, "name")))
            for row in entries(plain, "phases")
        ]
    return [Reading(by_name(dig(plain, "token_ratios"), "token_ratios"))]


JSON = Format(
    write=lambda request: json.dumps(_plain(request), indent=2) + "\n",
    read=lambda text, _: _read(read_json(text)),
    phases=True,
)
"""One JSON object."""

YAML = Format(
    write=lambda request: dump_yaml(_plain(request)),
    read=lambda text, _: _read(read_yaml(text)),
    phases=True,
)
"""One YAML mapping, with the same keys as the JSON."""
