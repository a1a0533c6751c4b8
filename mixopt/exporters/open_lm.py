"""open_lm and DCLM: train-data and train-data-mix-weights.

Weights share out samples of packed tokens and are not normalised: they multiply the tokens of an
epoch, so they must sum to one (read in open_lm/params.py and data.py, commit 9bb92ef).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import dig, dump_yaml, pair, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Reading


def _write(request: ExportRequest) -> str:
    used = request.used(request.ratios)
    told = {"train-data": list(used), "train-data-mix-weights": list(used.values())}
    return request.comment() + dump_yaml(told)


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    plain = read_yaml(text)
    weights = dig(plain, "train-data-mix-weights")
    return [Reading(pair(dig(plain, "train-data"), weights, "train-data"))]


OPEN_LM = Format(write=_write, read=_read, sums_to_one=True)
"""YAML for `--config`; paths are tar patterns as open_lm takes them."""
