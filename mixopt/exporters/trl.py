"""TRL: the `datasets` of a `DatasetMixtureConfig`, with a fraction of the examples for each.

TRL draws examples, normalises the fractions, and cuts larger sets rather than repeat a smaller one;
it takes fractions for all or for none and none below zero, and cannot stream them (read in
trl/scripts/utils.py and run, 2026-11).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import dig, dump_yaml, entries, pair, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Reading


def _write(request: ExportRequest) -> str:
    loader = str(request.options.get("loader", "json"))
    told = []
    for domain, share in request.document_ratios().items():
        if share > 0:
            path = request.path_of(domain)
            where = {"path": path} if loader == "hub" else {"path": loader, "data_files": path}
            told.append({**where, "split": "train", "fraction": share})
    note = "# Fractions are shares of examples; TRL cuts larger sets and repeats none.\n"
    return request.comment() + note + dump_yaml({"datasets": told, "streaming": False})


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    listed = entries(read_yaml(text), "datasets")
    names = [entry.get("data_files", dig(entry, "path")) for entry in listed]
    weights = [dig(entry, "fraction") for entry in listed]
    return [Reading(pair(names, weights, "datasets"), "documents")]


TRL = Format(write=_write, read=_read, options=("loader",))
"""YAML for TRL's `--config`; option `loader`: `json` (default), `parquet`, ..., or `hub`."""
