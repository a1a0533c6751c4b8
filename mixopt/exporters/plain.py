"""The proposal as plain JSON or YAML: ratios of tokens and of documents, and repetition."""

import json
from typing import Any

import yaml

from mixopt.exporters import ExportRequest


def export_json(request: ExportRequest) -> str:
    """One JSON object."""
    return json.dumps(_plain(request), indent=2) + "\n"


def export_yaml(request: ExportRequest) -> str:
    """One YAML mapping, with the same keys as the JSON."""
    return yaml.safe_dump(_plain(request), sort_keys=False, allow_unicode=True)


def _plain(request: ExportRequest) -> dict[str, Any]:
    proposal = request.proposal
    plain: dict[str, Any] = {"token_ratios": dict(request.ratios)}
    if all(name in proposal.tokens_per_document for name, r in request.ratios.items() if r):
        plain["document_ratios"] = request.document_ratios()
    if request.paths:
        plain["paths"] = dict(request.paths)
    if proposal.repetition:
        plain["repetition"] = {name: round(v, 4) for name, v in proposal.repetition.items()}
    return plain | {"verdict": proposal.verdict}
