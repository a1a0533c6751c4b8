"""Tell the ratios of a file from what stands beside them: a run's number, its metrics, a total."""

import logging
from collections.abc import Mapping

from mixopt.errors import ExportError
from mixopt.io.field_names import COST_COLUMNS, is_id, is_metric_name, plain_name
from mixopt.io.run_metadata import is_run_metadata

log = logging.getLogger(__name__)

TOTALS = frozenset({"total", "sum", "all", "overall"})
"""Names of the sum of all ratios, without case and marks."""
TOKENS = frozenset({"budget", "budgettokens", "tokenbudget", "ntokens", "numtokens", "traintokens",
                    "totaltokens"})  # fmt: skip
"""Names of a budget beside those of `COST_COLUMNS`, likewise."""
ROUNDING = 0.01 + 1e-9
"""How far the sum of rounded ratios may be from one."""
WHOLES = (1.0, 100.0)
"""What ratios and percent sum to."""


def leave_out_records(
    amounts: Mapping[str, float | None], where: str
) -> Mapping[str, float | None]:
    """Return the entries that are ratios of domains, and log the others.

    Args:
        amounts: Number by name; None for a value that is none.
        where: Whose they are, for messages.

    Raises:
        ExportError: An entry is called as a run's id, cost or metric is, and nothing tells whether it is
            a domain.
    """
    records = [name for name in amounts if _is_record(name)]
    rest = {name: amount for name, amount in amounts.items() if name not in records}
    if records and _is_whole(_without_total(rest)):
        log.warning("%s: %s: not domains, and left out.", where, ", ".join(records))
        amounts = rest
    elif records and not _is_whole(_without_total(amounts)):
        raise ExportError(
            f"{where}: {records[0]!r} is called as the id, the cost or a metric of a run is, and the "
            "sum of the ratios does not tell; take it out, or rename the domain."
        )
    found = _without_total(amounts)
    if len(found) < len(amounts):
        log.warning("%s: the total is left out.", where)
    return found


def _is_record(name: str) -> bool:
    plain = plain_name(name)
    is_cost = plain in TOKENS or plain in map(plain_name, COST_COLUMNS)
    return is_cost or is_id(name) or is_run_metadata(name) or is_metric_name(name)


def _is_whole(amounts: Mapping[str, float | None]) -> bool:
    """Return whether numbers are ratios that sum to one, or percent."""
    known = [amount for amount in amounts.values() if amount is not None]
    if len(known) < len(amounts) or not known or min(known) < 0:
        return False
    return any(abs(sum(known) / whole - 1) <= ROUNDING for whole in WHOLES)


def _without_total(amounts: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the entries without the sum of all others, if one is called so."""
    if _is_whole(amounts):
        return dict(amounts)
    for name, total in amounts.items():
        rest = {other: amount for other, amount in amounts.items() if other != name}
        known = [amount for amount in rest.values() if amount is not None]
        is_sum = total is not None and abs(sum(known) - total) <= ROUNDING * abs(total)
        if plain_name(name) in TOTALS and is_sum and len(rest) > 1:
            return rest
    return dict(amounts)
