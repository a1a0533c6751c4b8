"""What more runs are expected to improve: `--advise` of `mixopt design` and `mixopt propose`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixopt.config.constraints import ProposalConfig
    from mixopt.optimization.learning_curve import Expectation
    from mixopt.trials import Trials


def expect_of_more_runs(
    trials: "Trials", config: "ProposalConfig", *, seed: int
) -> "list[Expectation]":
    """Return the learning curve of a table: for the runs so far, then for more of them.

    Args:
        trials: The table.
        config: Of the proposal.
        seed: Of the subsets and fits.

    Raises:
        TrialsError: The runs are too few for a curve, or their metrics do not differ.
    """
    from mixopt.optimization.learning_curve import advise

    return advise(trials, target=config.target, capability_weights=config.capability_weights,
                  surrogates=config.surrogates, fidelities=config.fidelities, seed=seed)  # fmt: skip


def describe_more_runs(rows: "Sequence[Expectation]") -> list[str]:
    """Return the lines of a table of the learning curve, and a sentence.

    Args:
        rows: As `expect_of_more_runs` returns them.
    """
    lines = ["  runs  error of the utility (sd), 80% interval   rank of unseen runs, 80% interval"]
    for row in rows:
        error = "{:.3f} to {:.3f}".format(*row.error_interval)
        rank = "{:+.3f} to {:+.3f}".format(*row.rank_interval)
        told = f"{row.error:.3f} ({error})"
        lines.append(f"  {row.runs:>4}  {told:<39}   {row.rank:+.3f} ({rank})")
    now, last = rows[0], rows[-1]
    lines.append(
        f"{last.runs - now.runs} more runs would cut the error of predictions by about "
        f"{1 - last.error / now.error:.0%}."
    )
    return lines
