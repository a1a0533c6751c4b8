"""MosaicML Streaming: the `streams` of a StreamingDataset, as llm-foundry's YAML nests them.

A Stream's `proportion` draws samples: whole documents, or packed sequences of tokens where MDS files
were written so (`packed: true`). Proportions are normalised and are given for all streams or none
(read in streaming/base/stream.py and run, 2026-11).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import by_name, dig, dump_yaml, mapping, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Reading

PACKED = "# Proportions are shares of packed sequences."
WHOLE = "# Proportions are shares of documents."


def _write(request: ExportRequest) -> str:
    packed = request.flag("packed")
    shares = request.ratios if packed else request.document_ratios()
    place = "remote" if request.flag("remote") else "local"
    split = request.options.get("split")
    streams = {
        domain: {place: request.path_of(domain)}
        | ({} if split is None else {"split": str(split)})
        | {"proportion": share}
        for domain, share in shares.items()
        if share > 0
    }
    note = f"{PACKED if packed else WHOLE}\n"
    nested = {"train_loader": {"dataset": {"streams": streams}}}
    return request.comment() + note + dump_yaml(nested)


def _read(text: str, options: Mapping[str, Any]) -> list[Reading]:
    streams = mapping(read_yaml(text), "train_loader", "dataset", "streams")
    given = {name: dig(stream, "proportion") for name, stream in streams.items()}
    packed = str(options.get("packed", False)).lower() == "true"
    if PACKED in text or WHOLE in text:  # the file says so itself
        packed = PACKED in text
    return [Reading(by_name(given, "proportion"), "tokens" if packed else "documents")]


STREAMS = Format(write=_write, read=_read, options=("packed", "remote", "split"))
"""YAML; options: `packed` (false), `remote` (false: paths are local folders), `split`."""
