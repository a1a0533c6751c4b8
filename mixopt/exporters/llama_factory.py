"""LLaMA-Factory config (YAML): `dataset`, `mix_strategy`, `interleave_probs`.

Probabilities are one comma-separated string, one per dataset, and apply to the strategies that repeat
or cut datasets to keep them (`interleave_once` does neither). Datasets are named as in the user's
dataset_info.json: give those names as paths, or name them like the domains. They are not streamed: of
files LLaMA-Factory makes as many shards as `dataloader_num_workers`, by default none.

Ratios: of documents (examples). Source: hparams/data_args.py, data/loader.py and data/data_utils.py at
commit ff6d4d12 (read); llamafactory 0.9.5, whose `DataArguments` the tests build.
"""

from glob import has_magic

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
from mixopt.io.parsing import show

STRATEGIES = ("interleave_over", "interleave_under")
NOTE = """\
# Fine-tuning (stage: sft) cuts examples at cutoff_len (2048), which changes the shares of tokens: give
# one that holds the longest example. Pre-training (stage: pt) packs them and cuts none.
"""


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
        if has_magic(name) and name in request.domain_of_path:
            raise ExportError(
                f"LLaMA-Factory takes names of datasets of dataset_info.json, and {name!r} is a glob; "
                "give their names with commas between."
            )
    probabilities = ",".join(format_ratio(s, DOCUMENT_DECIMALS) for s in shares.values())
    config = {
        "dataset": ",".join(names),
        "mix_strategy": strategy,
        "interleave_probs": probabilities,
    }
    return request.to_yaml(config, NOTE)


def _read(text: str, _: Options) -> list[ParsedMixture]:
    config = read_yaml(text)
    names = [name.strip() for name in str(dig(config, "dataset")).split(",")]
    weights = str(dig(config, "interleave_probs")).split(",")
    if dig(config, "mix_strategy") not in STRATEGIES:
        raise ExportError(
            f"The file's mix_strategy is {show(config['mix_strategy'])}, which does not keep these "
            f"probabilities; use {' or '.join(STRATEGIES)}."
        )
    return [ParsedMixture(zip_weights(names, weights, "dataset"), "documents")]


LLAMA_FACTORY = ExportFormat(write=_write, read=_read, options=("mix_strategy",), sums_to_one=True)
"""Option `mix_strategy`: `interleave_over` (default) or `interleave_under`."""
