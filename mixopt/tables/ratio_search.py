"""Find, among all columns of a table, the ratios of one mixture by their values alone."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from mixopt.mixture import Array

TOLERANCE = 0.01
"""How far the sum of rounded ratios may be from one."""
ARITHMETIC = 1e-9
"""Error of a sum: .33 + .33 + .33 is a little less than .99."""
NEARLY_ALL = 0.9
"""Share of runs whose ratios must sum to one; a wrong row among them is reported later."""
FEWEST_RUNS = 3
"""Runs that a search needs: the sums of many sets of columns are near one in one or two."""
MOST_UNDETERMINED = 12
"""Columns that the others do not determine, all of whose combinations are tried."""


def sum_to_one(values: Array) -> bool:
    """Return whether rows are ratios of one mixture, nearly all of them.

    Args:
        values: One row per run (`n x d`); rows without any number do not count.
    """
    values = values[~np.isnan(values).all(axis=1)]
    if not len(values):
        return False
    values = np.nan_to_num(values)
    inside = ((values >= -TOLERANCE) & (values <= 1 + TOLERANCE)).all(axis=1)
    fits = inside & (np.abs(values.sum(axis=1) - 1) <= TOLERANCE + ARITHMETIC)
    return bool(fits.mean() >= NEARLY_ALL)


def search_ratios(values: Array) -> list[int] | None:
    """Return the largest set of columns that sum to one in nearly all rows.

    A set is a vector z of zeros and ones with values · z = 1. Columns that are no combination of others
    are determined by those equations; the rest are tried.

    Args:
        values: Candidates (`n x k`); columns outside of [0, 1] are none.

    Returns:
        Indices of the columns, or None where no set, or several of the same size, are ratios.
    """
    filled = np.nan_to_num(values)
    inside = ((filled >= -TOLERANCE) & (filled <= 1 + TOLERANCE)).mean(axis=0) >= NEARLY_ALL
    candidates = np.flatnonzero(inside)
    if len(candidates) < 2 or len(values) < FEWEST_RUNS:
        return None
    varied = candidates[np.ptp(filled[:, candidates], axis=0) > 1e-9]
    found: dict[tuple[int, ...], float] = {}
    for chosen in _solve(filled[:, varied]) if len(varied) > 1 else ():
        columns = varied[chosen]
        if len(columns) > 1 and sum_to_one(values[:, columns]):
            found[tuple(columns)] = float(np.median(np.abs(filled[:, columns].sum(axis=1) - 1)))
    if not found:  # a ratio may be the same in all runs, as settings are
        return candidates.tolist() if sum_to_one(values[:, candidates]) else None
    # a set that is as close as rounding lets it be; with a tiny column more or less it is not
    exact = [columns for columns, apart in found.items() if apart <= 2 * min(found.values()) + 1e-9]
    largest = [columns for columns in exact if len(columns) == max(map(len, exact))]
    return [int(column) for column in largest[0]] if len(largest) == 1 else None


def _solve(values: Array) -> Iterator[NDArray[np.bool_]]:
    """Yield the sets of columns (`k`) whose sum is about one in all rows, by least squares."""
    q, r, order = qr(values, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(r))
    rank = int((diagonal > 0.01 * diagonal[0]).sum())
    rest = values.shape[1] - rank
    if rest > MOST_UNDETERMINED:
        return
    ones = q.T[:rank] @ np.ones(len(values))
    for tried in product((0.0, 1.0), repeat=rest):
        free = np.array(tried)
        solved = solve_triangular(r[:rank, :rank], ones - r[:rank, rank:] @ free)
        z = np.zeros(values.shape[1])
        z[order] = np.concatenate([np.round(solved), free])
        if np.isin(z, (0, 1)).all():
            yield z.astype(bool)
