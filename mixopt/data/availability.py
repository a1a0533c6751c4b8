"""How many tokens a text has, estimated from a sample of its parts, with a standard error."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixopt.estimate import Z95

COMPLETE = 1e-6
"""Share of a text that is left when it counts as read."""


@dataclass
class SampledPart:
    """A part of a text that was read, as far as it was.

    Attributes:
        weight: Bytes of the files that the part stands for.
        covered: Bytes of the files in which its documents lay.
        stratum: Format of its file: formats differ in tokens per byte.
    """

    weight: float
    covered: float = 0.0
    stratum: str = ""


@dataclass(frozen=True)
class Availability:
    """Tokens of a text of which a sample was read.

    Attributes:
        tokens: Estimated number; exact where `std_error` is 0.
        std_error: Standard error, widened where few parts tell it; None where one part was read.
        total_bytes: Size of the files, 0 where it is not known.
        remark: What the sample could not do, in one sentence.
    """

    tokens: int
    std_error: float | None
    total_bytes: int
    remark: str = ""

    def describe(self) -> str:
        """Describe the text beside its sample, in one clause."""
        size = f"a sample of {_show_size(self.total_bytes)}: " if self.total_bytes else "a sample: "
        if self.std_error is None:
            error = "by one part of it, so the error is not known"
        else:
            error = f"± {Z95 * self.std_error / max(1, self.tokens):.1%}"
        remark = f"; {self.remark}" if self.remark else ""
        return f"{size}about {_round(self.tokens):,} tokens in all, {error}{remark}"


def estimate_tokens(
    parts: Sequence[SampledPart], tokens: Mapping[int, int], total_bytes: Mapping[str, float]
) -> Availability:
    """Estimate the tokens of a text from those of the parts that were read.

    The ratio estimator of stratified cluster sampling (Cochran, Sampling Techniques, 1977, chapter 6):
    tokens per byte of the parts, weighted by the bytes that each stands for, times all bytes; the sum
    over strata.

    Args:
        parts: The parts, in the order in which they were read (`n`).
        tokens: Tokens of each part by its index; of a part that is left out, none.
        total_bytes: Bytes of all files, by stratum.
    """
    rows = [
        (part.stratum, part.weight, part.covered, tokens.get(index, 0))
        for index, part in enumerate(parts)
        if part.covered > 0
    ]
    everything = np.array([row[1:] for row in rows], dtype=np.float64)
    total, variance = 0.0, 0.0
    fewest, is_known = len(rows), True
    for stratum, size in total_bytes.items():
        own = np.array([row[1:] for row in rows if row[0] == stratum], dtype=np.float64)
        rate, relative = _estimate_rate(own if len(own) else everything)
        left = max(0.0, 1.0 - own[:, 1].sum() / size) if len(own) else 1.0
        total += size * rate
        variance += left * (size * relative) ** 2
        is_known &= len(own) > 1 or left < COMPLETE
        fewest = min(fewest, len(own)) if left >= COMPLETE else fewest
    std_error = None
    if is_known:
        widened = float(stats.t.ppf(0.975, fewest - 1)) / Z95 if fewest > 1 else 1.0
        std_error = math.sqrt(variance) * widened
    n_bytes = round(sum(total_bytes.values()))
    return Availability(max(1, round(total)), std_error, n_bytes)


def _estimate_rate(parts: NDArray[np.float64]) -> tuple[float, float]:
    """Return tokens per byte and its standard error, by weights, bytes and tokens of parts (`n x 3`)."""
    weights, n = parts[:, 0], len(parts)
    rates = parts[:, 2] / parts[:, 1]
    rate = float((weights * rates).sum() / weights.sum())
    squares = float(((weights * (rates - rate)) ** 2).sum())
    return rate, math.sqrt(n / max(1, n - 1) * squares) / float(weights.sum())


def _round(count: int) -> int:
    """Return a number with three digits that are not zero."""
    step: int = 10 ** max(0, len(str(count)) - 3)
    return round(count / step) * step


def _show_size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
