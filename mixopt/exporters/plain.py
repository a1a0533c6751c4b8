"""The proposal as plain JSON or YAML: ratios of tokens and of documents, and repetition."""

import json
from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import by_name, dig, dump_yaml, read_json, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Part, Reading


def _plain(request: ExportRequest) -> dict[str, Any]:
    proposal = request.proposal
    if len(request.parts) > 1:
        plain: dict[str, Any] = {"phases": [_phase(part) for part in request.parts]}
    else:
        plain = {"token_ratios": dict(request.ratios)}
        if all(name in proposal.tokens_per_document for name, r in request.ratios.items() if r):
            plain["document_ratios"] = request.document_ratios()
    if request.paths:
        plain["paths"] = dict(request.paths)
    if request.seen:
        plain["repetition"] = {name: round(v, 4) for name, v in request.seen.items()}
    return plain | {"verdict": proposal.verdict}


def _phase(part: Part) -> dict[str, Any]:
    return {"name": part.name, "tokens": part.tokens, "token_ratios": dict(part.ratios)}


def _read(plain: Any) -> list[Reading]:
    if isinstance(plain, Mapping) and "phases" in plain:
        return [
            Reading(by_name(dig(row, "token_ratios"), "token_ratios"), phase=str(dig(row, "name")))
            for row in plain["phases"]
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
