"""Evidence beside a decision: the noise of training, and what the choice of items changes."""

from collections.abc import Mapping
from dataclasses import dataclass

RANGES = 4  # domains whose ranges are named


@dataclass(frozen=True)
class PairedNoise:
    """The noise of training: how much the gain of one run differs from that of another seed.

    Attributes:
        std: Standard deviation of the utility's difference between one run of a mixture and natural's
            run with the same seed, in the unit of `Decision.gain`.
        differences: Degrees of freedom by which the study measured it: runs of a mixture, natural
            among them, beyond the first, with other seeds. Few are shrunk towards what is usual; 0 for
            the usual alone.
    """

    std: float
    differences: int

    def describe(self, unit: str) -> str:
        """Return the noise in words.

        Args:
            unit: Of gains, in the words that follow their number.
        """
        how = (
            f"measured by {self.differences} repeated run{'s' * (self.differences > 1)} with other seeds"
            if self.differences
            else "as is usual: no mixture was trained with two seeds"
        )
        return (
            f"the difference of two mixtures trained with one seed has a noise of {self.std:.3f} {unit} "
            f"({how})"
        )


def describe_ranges(ranges: Mapping[str, tuple[float, float]]) -> str:
    """Return between which ratios the best ensemble is, the widest ranges first.

    Args:
        ranges: 10% and 90% quantiles by domain, over resampled items.
    """
    widest = sorted(ranges.items(), key=lambda pair: pair[1][0] - pair[1][1])
    named = [f"{name} between {low:.0%} and {high:.0%}" for name, (low, high) in widest]
    more = f" and {len(named) - RANGES} more domains in narrower ranges" * (len(named) > RANGES)
    return (
        f"over resampled items the best ensemble has {', '.join(named[:RANGES])}{more} (10% to 90%)"
    )
