"""axolotl: which takes no weights, so the mixture is made of counted slices of each dataset.

axolotl concatenates its datasets and shuffles. What the budget asks of a domain is written as whole
copies of its dataset and a slice of one more, in documents (read in src/axolotl/utils/data/shared.py,
commit 067b021c; slices are those of datasets.load_dataset, with which they are tested).
"""

import re
from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.parsing import dig, dump_yaml, entries, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Reading
from mixopt.exporters.rounding import apportion

SLICE = re.compile(r"train\[:(\d+)\]")
NEEDS = "axolotl takes no weights, so documents are counted out: "


def _write(request: ExportRequest) -> str:
    counts, held = _count(request)
    kind, loader = str(request.options.get("type", "completion")), request.options.get("ds_type")
    told = []
    for domain, count in counts.items():
        copies, rest = divmod(count, held[domain])
        slices = [held[domain]] * copies + ([rest] if rest else [])
        for size in slices:
            entry = {"path": request.path_of(domain), "type": kind, "split": f"train[:{size}]"}
            told.append(entry | ({} if loader is None else {"ds_type": str(loader)}))
    note = (
        "# axolotl has no weights: each slice is so many documents, whole copies first. Paths are\n"
        "# files or hub datasets: of what save_to_disk wrote axolotl reads all, whatever the split.\n"
    )
    return request.comment() + note + dump_yaml({"datasets": told, "shuffle_merged_datasets": True})


def _count(request: ExportRequest) -> tuple[dict[str, int], dict[str, int]]:
    """Documents to read of each domain, and how many there are.

    Raises:
        ExportError: The budget, or a domain's tokens, are not known; or it reads no document.
    """
    budget = request.proposal.budget
    if budget is None:
        raise ExportError(f"{NEEDS}the token budget is needed; give it: --budget-tokens N.")
    shares = {name: share for name, share in request.document_ratios().items() if share > 0}
    lengths = request.proposal.tokens_per_document
    held = {}
    for domain in shares:
        if domain not in budget.available_tokens:
            raise ExportError(
                f"{NEEDS}the available tokens of {domain!r} are not known; a study measures them."
            )
        held[domain] = max(1, round(budget.available_tokens[domain] / lengths[domain]))
    total = round(sum(budget.tokens * request.ratios[name] / lengths[name] for name in shares))
    counts = apportion(shares, total)
    return {domain: count for domain, count in counts.items() if count}, held


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    counts: dict[str, float] = {}
    for entry in entries(read_yaml(text), "datasets"):
        path, split = str(dig(entry, "path")), str(dig(entry, "split"))
        found = SLICE.fullmatch(split)
        if found is None:
            raise ExportError(
                f"The split of {path!r} is {split!r}; without a count (train[:N]) its share of the "
                "documents is not known."
            )
        counts[path] = counts.get(path, 0.0) + int(found[1])
    return [Reading(counts, "documents")]


AXOLOTL = Format(write=_write, read=_read, options=("type", "ds_type"))
"""YAML; options: `type` (completion), `ds_type` (json, parquet, ... for local files)."""
