"""axolotl config (YAML): `datasets` as counted slices, `shuffle_merged_datasets`.

axolotl 0.19 takes no weights: it concatenates its datasets and shuffles them. The exporter writes the
documents that the budget needs of a domain as whole copies of its dataset and one partial slice; the
file of a later phase begins where the one before it ended. The `weight` that pull request 3690 adds (it
is neither in 0.19.0 nor at the commit below) takes a part of a dataset and repeats none.

Ratios: of documents. Source: src/axolotl/utils/data/shared.py at commit 067b021c and
axolotl/utils/schemas/datasets.py of 0.19.0 (read; not run).
The slice syntax is that of `datasets.load_dataset`, which the tests run.
"""

import re

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, dig_list, read_yaml
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture, positive
from mixopt.exporters.rounding import apportion_counts

SLICE = re.compile(r"train\[(\d*):(\d+)\]")
NEEDS = "axolotl takes no weights, so documents are counted out: "
NOTE = """\
# axolotl has no weights: each slice is so many documents, and what repeats is another slice. Paths are
# files or hub datasets: of what save_to_disk wrote axolotl reads all, whatever the split.
"""


def _write(request: ExportRequest) -> str:
    counts, available = _count_documents(request)
    lengths = request.proposal.tokens_per_document
    kind, loader = str(request.options.get("type", "completion")), request.options.get("ds_type")
    datasets = []
    for domain, count in counts.items():
        before = request.tokens_before.get(domain, 0.0) / lengths[domain]
        shares = request.split_of(domain, expand=True)
        for path, n in apportion_counts(shares, count).items():
            most = max(1, round(available[domain] * shares[path]))
            for split in _slice(round(before * shares[path]), n, most):
                entry = {"path": path, "type": kind, "split": split}
                datasets.append(entry | ({} if loader is None else {"ds_type": str(loader)}))
    return request.to_yaml({"datasets": datasets, "shuffle_merged_datasets": True}, NOTE)


def _slice(start: int, count: int, most: int) -> list[str]:
    """Return slices of a dataset that hold `count` documents, from `start` on and round again.

    Args:
        start: Documents that were read before.
        count: Documents to read.
        most: Documents of the dataset.
    """
    first, slices = start % most, []
    while count:
        last = min(most, first + count)
        slices.append(f"train[{first or ''}:{last}]")
        count -= last - first
        first = 0
    return slices


def _count_documents(request: ExportRequest) -> tuple[dict[str, int], dict[str, int]]:
    """Return the documents to read of each domain, and those available."""
    budget = request.proposal.budget
    if budget is None:
        raise ExportError(f"{NEEDS}the token budget is needed; give it: --budget-tokens N.")
    shares = positive(request.document_ratios())
    lengths = request.proposal.tokens_per_document
    available = {}
    for domain in shares:
        if domain not in budget.available_tokens:
            raise ExportError(
                f"{NEEDS}the available tokens of {domain!r} are not known; a study measures them."
            )
        available[domain] = max(1, round(budget.available_tokens[domain] / lengths[domain]))
    total = round(sum(budget.tokens * request.ratios[name] / lengths[name] for name in shares))
    counts = apportion_counts(shares, total)
    return {domain: count for domain, count in counts.items() if count}, available


def _read(text: str, _: Options) -> list[ParsedMixture]:
    counts: dict[str, float] = {}
    for entry in dig_list(read_yaml(text), "datasets"):
        path, split = str(dig(entry, "path")), str(dig(entry, "split"))
        match = SLICE.fullmatch(split)
        if match is None:
            raise ExportError(
                f"The split of {path!r} is {split!r}; without a count (train[:N]) its share of the "
                "documents is not known."
            )
        first, last = int(match[1] or 0), int(match[2])
        counts[path] = counts.get(path, 0.0) + max(0, last - first)
    return [ParsedMixture(counts, "documents")]


AXOLOTL = ExportFormat(write=_write, read=_read, options=("type", "ds_type"))
"""Options: `type` (completion), `ds_type` (json, parquet, ... for local files)."""
