"""MosaicML Streaming and llm-foundry config (YAML): `train_loader.dataset.streams`.

Each stream has `local` or `remote`, `split` and `proportion`. Proportions are normalized and given
for all streams or for none. A remote stream without `local` is cached in a temporary folder, and a
second run on the machine refuses to start while that exists; `cache` names a folder to keep.

Ratios: of documents; of tokens with `packed: true`, where the MDS samples are packed sequences.
Source: streaming/base/stream.py (read); mosaicml-streaming 0.13.0, whose `Stream`s the tests read.
The nesting is llm-foundry's at commit 8c8dd48 (read; not run), which cuts documents at `max_seq_len`.
"""

from typing import Any
from urllib.parse import quote

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, dig_mapping, read_yaml, weights_by_name
from mixopt.exporters.request import (
    DOCUMENT_DECIMALS,
    ExportFormat,
    ExportRequest,
    Options,
    ParsedMixture,
    RatioUnit,
)
from mixopt.exporters.rounding import DECIMALS

PACKED = "# Proportions are shares of packed sequences."
WHOLE = "# Proportions are shares of documents."
NOTE = """\
# llm-foundry cuts each document at max_seq_len, which changes the shares of tokens: write packed
# sequences (MDS) and export with --option packed=true.
"""
UNCACHED = """\
# A second run on a machine refuses the temporary folder of the first: delete it, or export with --option
# cache=FOLDER.
"""


def _write(request: ExportRequest) -> str:
    packed = request.bool_option("packed")
    shares = request.ratios if packed else request.document_ratios()
    decimals = DECIMALS if packed else DOCUMENT_DECIMALS
    remote, cache = request.bool_option("remote"), request.options.get("cache")
    if cache is not None and not remote:
        raise ExportError(
            "Option 'cache' is for remote paths; give --option remote=true too, or leave it out."
        )
    split = request.options.get("split")
    given_split = {} if split is None else {"split": str(split)}
    streams = {
        key: {**_place(key, path, remote, cache), **given_split, "proportion": share}
        for key, (path, share) in request.weights_by_key(shares, decimals).items()
    }
    note = f"{PACKED}\n" if packed else f"{WHOLE}\n{NOTE}"
    if remote and cache is None:
        note += UNCACHED
    return request.to_yaml({"train_loader": {"dataset": {"streams": streams}}}, note)


def _place(key: str, path: str, remote: bool, cache: Any) -> dict[str, str]:
    """Return where a stream lies, and where it is kept if it comes from afar."""
    if not remote:
        return {"local": path}
    # a key may be a URL, whose slashes are no folders
    return {"remote": path} | (
        {} if cache is None else {"local": f"{str(cache).rstrip('/')}/{quote(key, safe=':')}"}
    )


def _read(text: str, options: Options) -> list[ParsedMixture]:
    streams = dig_mapping(read_yaml(text), "train_loader", "dataset", "streams")
    proportions = {name: dig(stream, "proportion") for name, stream in streams.items()}
    packed = str(options.get("packed", False)).lower() == "true"
    if PACKED in text or WHOLE in text:  # the file's own comment overrides the option
        packed = PACKED in text
    unit: RatioUnit = "tokens" if packed else "documents"
    return [ParsedMixture(weights_by_name(proportions, "proportion"), unit)]


STREAMS = ExportFormat(write=_write, read=_read, options=("cache", "packed", "remote", "split"))
"""Options: `packed` (false), `remote` (false: paths are local folders), `cache` (a local folder for what
is remote; by default a temporary one), `split` (none)."""
