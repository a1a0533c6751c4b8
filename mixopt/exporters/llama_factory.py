"""LLaMA-Factory: `dataset`, `mix_strategy` and `interleave_probs` of its data arguments.

It draws examples; probabilities are one string, count for the interleaving strategies alone and must
be as many as the datasets (read in hparams/data_args.py and run, 2026-11). Datasets are called as
in the user's dataset_info.json: give those names as paths, or call them like the domains.
"""

from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.parsing import dig, dump_yaml, pair, read_yaml
from mixopt.exporters.request import DOCUMENT_DECIMALS, ExportRequest, Format, Reading
from mixopt.exporters.rounding import format_ratio

STRATEGIES = ("interleave_over", "interleave_under")


def _write(request: ExportRequest) -> str:
    strategy = request.options.get("mix_strategy", STRATEGIES[0])
    if strategy not in STRATEGIES:
        raise ExportError(
            f"mix_strategy {strategy!r} takes no probabilities; use one of {', '.join(STRATEGIES)}."
        )
    shares = {name: share for name, share in request.document_ratios().items() if share > 0}
    names = [request.paths.get(domain, domain) for domain in shares]
    for name in names:
        if "," in name:
            raise ExportError(
                f"LLaMA-Factory divides its datasets at commas, and {name!r} has one; rename it."
            )
    told = {
        "dataset": ",".join(names),
        "mix_strategy": strategy,
        "interleave_probs": ",".join(format_ratio(s, DOCUMENT_DECIMALS) for s in shares.values()),
        "streaming": True,
    }
    return request.comment() + dump_yaml(told)


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    plain = read_yaml(text)
    names = [name.strip() for name in str(dig(plain, "dataset")).split(",")]
    weights = str(dig(plain, "interleave_probs")).split(",")
    return [Reading(pair(names, weights, "dataset"), "documents")]


LLAMA_FACTORY = Format(write=_write, read=_read, options=("mix_strategy",), sums_to_one=True)
"""YAML; option `mix_strategy`: `interleave_over` (default) or `interleave_under`."""
