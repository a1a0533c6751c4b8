"""open_lm and DCLM config (YAML for `--config`): `train-data`, `train-data-mix-weights`.

Paths are tar patterns. Weights multiply the samples of an epoch and are not normalized, so they must
sum to one. `dataset-resampled` draws shards with replacement: without it a source that runs out of
shards is dropped, and a domain that is read more than once falls short of its share.

Ratios: of tokens (packed samples). Source: open_lm/params.py and data.py at commit 9bb92ef (read;
not run).
"""

from glob import has_magic

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, read_yaml, zip_weights
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture


def _write(request: ExportRequest) -> str:
    weights = request.weights_by_path(expand=False)
    for path in weights:
        if has_magic(path) and not path.startswith("pipe:"):  # a command
            raise ExportError(
                f"open_lm expands no globs, and the path {path!r} is one; name the tar files by braces: "
                "{000..099}.tar."
            )
    return request.to_yaml({
        "train-data": list(weights),
        "train-data-mix-weights": list(weights.values()),
        "dataset-resampled": True,
    })  # fmt: skip


def _read(text: str, _: Options) -> list[ParsedMixture]:
    config = read_yaml(text)
    weights = dig(config, "train-data-mix-weights")
    return [ParsedMixture(zip_weights(dig(config, "train-data"), weights, "train-data"))]


OPEN_LM = ExportFormat(write=_write, read=_read, sums_to_one=True)
