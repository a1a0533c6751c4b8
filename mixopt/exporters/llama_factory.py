"""LLaMA-Factory config (YAML): `dataset`, `mix_strategy`, `interleave_probs`, `streaming`.

Probabilities are one comma-separated string, one per dataset, and apply to the interleaving
strategies only. Datasets are named as in the user's dataset_info.json: give those names as paths, or
name them like the domains.

Ratios: of documents (examples). Source: hparams/data_args.py and data/data_utils.py at commit
ff6d4d12 (read); llamafactory 0.9.5, whose `DataArguments` the tests build.
"""

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, read_yaml, zip_weights
from mixopt.exporters.request import (
    DOCUMENT_DECIMALS,
    ExportFormat,
    ExportRequest,
    Options,
    ParsedMixture,
    positive,
)
from mixopt.exporters.rounding import format_ratio

STRATEGIES = ("interleave_over", "interleave_under")


def _write(request: ExportRequest) -> str:
    strategy = request.options.get("mix_strategy", STRATEGIES[0])
    if strategy not in STRATEGIES:
        raise ExportError(
            f"mix_strategy {strategy!r} takes no probabilities; use one of {', '.join(STRATEGIES)}."
        )
    shares = positive(request.document_ratios())
    shares = {
        path: share
        for domain, ratio in shares.items()
        for path, share in (
            request.split({domain: ratio}, DOCUMENT_DECIMALS)[domain].items()
            if domain in request.paths
            else [(domain, ratio)]
        )
    }
    names = list(shares)
    for name in names:
        if "," in name:
            raise ExportError(
                f"LLaMA-Factory splits its datasets at commas, and {name!r} has one; rename it."
            )
    return request.to_yaml({
        "dataset": ",".join(names),
        "mix_strategy": strategy,
        "interleave_probs": ",".join(format_ratio(s, DOCUMENT_DECIMALS) for s in shares.values()),
        "streaming": True,
    })  # fmt: skip


def _read(text: str, _: Options) -> list[ParsedMixture]:
    config = read_yaml(text)
    names = [name.strip() for name in str(dig(config, "dataset")).split(",")]
    weights = str(dig(config, "interleave_probs")).split(",")
    return [ParsedMixture(zip_weights(names, weights, "dataset"), "documents")]


LLAMA_FACTORY = ExportFormat(write=_write, read=_read, options=("mix_strategy",), sums_to_one=True)
"""Option `mix_strategy`: `interleave_over` (default) or `interleave_under`."""
