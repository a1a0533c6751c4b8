"""The optimal-transport distance of a mixture of sampled texts from a target's text, and its gradient.

The debiased Sinkhorn divergence (Feydy et al. 2019, arXiv:1810.08278) between the mixture's samples and
the target's, in an embedding. A sample of source i has the mass p_i ÷ n_i, so the distance is smooth in
p, and its gradient follows from the dual potentials. Sinkhorn's iterations are POT's.

Shapes: `d` sources, `n` samples of all of them, `t` samples of the target, `f` numbers of an embedding.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mixopt.errors import RunError, UserError, require_extra
from mixopt.mixture import Array

LEAST_SAMPLES = 8
"""Samples of a text below which its distribution is not seen."""
REGULARIZATION = 0.05
"""Entropic regularization in units of the mean cost."""
LARGEST_EXPONENT = 500.0
"""Of a cost divided by the regularization: its exponential must not underflow."""
TOLERANCE, ACCEPTED, ITERATIONS = 1e-9, 1e-5, 5000
"""Error of Sinkhorn's marginals at which it ends, the largest that is accepted, and most steps. The
distance has the square of that error."""


class TransportError(RunError):
    """Sinkhorn's steps did not converge at a mixture."""


@dataclass(frozen=True, eq=False)
class TextSamples:
    """Samples of the domains' text and of the target's, as embeddings.

    Attributes:
        sources: Embeddings by domain (`n_i x f` each).
        target: Embeddings of the target's text (`t x f`).
        masses: Weight of each sample of the target (`t`).
        benchmarks: Benchmark that each sample of the target is of (`t`); empty if nothing asks for it.

    Raises:
        UserError: A sample is too small, or embeddings differ in size.
    """

    sources: Mapping[str, Array]
    target: Array
    masses: Array
    benchmarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = {f"domain {name!r}": rows for name, rows in self.sources.items()}
        named["the target"] = self.target
        first, size = next(iter(named)), next(iter(named.values())).shape[1]
        for name, rows in named.items():
            if rows.shape[1] != size:
                raise UserError(
                    f"The embeddings of {first} have {size:,} numbers and those of {name} have "
                    f"{rows.shape[1]:,}; embed all text by one model."
                )
            if len(rows) < LEAST_SAMPLES:
                raise UserError(
                    f"The sample of {name} has {len(rows)} passages and transport needs "
                    f"{LEAST_SAMPLES}; give it more text."
                )


class Transport:
    """Distances of mixtures from the target.

    Args:
        samples: The samples.
        regularization: Entropic regularization in units of the mean cost.

    Raises:
        MissingExtraError: `mixopt[transport]` is not installed.
    """

    def __init__(self, samples: TextSamples, regularization: float = REGULARIZATION) -> None:
        self._ot = _load_library()
        sources = [np.asarray(rows, dtype=np.float64) for rows in samples.sources.values()]
        points, target = np.vstack(sources), np.asarray(samples.target, dtype=np.float64)
        self._counts = np.array([len(rows) for rows in sources])
        self._owner = np.repeat(np.arange(len(sources)), self._counts)
        self._masses = samples.masses / samples.masses.sum()
        cross = _squared(points, target)
        scale = max(float(cross.mean()), np.finfo(np.float64).tiny)
        self._cross = cross / scale
        self._inner, self._other = (
            _squared(points, points) / scale,
            _squared(target, target) / scale,
        )
        largest = max(float(costs.max()) for costs in (self._cross, self._inner, self._other))
        self._epsilon = max(regularization, largest / LARGEST_EXPONENT)
        self._known: dict[bytes, tuple[float, Array]] = {}
        self._benchmarks = samples.benchmarks

    def distance(self, ratios: Array) -> tuple[float, Array]:
        """Return the distance of a mixture (`d`), in units of the mean cost, and its gradient (`d`).

        The gradient counts along the simplex: a constant may be added to it.
        """
        key = ratios.tobytes()
        if key not in self._known:
            self._known[key] = self._measure(ratios)
        return self._known[key]

    def distances(self, ratios: Array) -> Array:
        """Return the distances (`n`) of mixtures (`n x d`)."""
        return np.array([self.distance(row)[0] for row in ratios])

    def by_benchmark(self, ratios: Array) -> dict[str, Array]:
        """Return the distances of mixtures (`n x d`) from the text of each benchmark alone (`n`)."""
        names = np.array(self._benchmarks)
        targets = {}
        for name in dict.fromkeys(self._benchmarks):
            target = self._masses * (names == name)
            targets[name] = target / target.sum()
        constants = {name: self._solve_itself(b, self._other)[0] for name, b in targets.items()}
        found = np.zeros((len(ratios), len(targets)))
        for place, row in enumerate(ratios):
            masses = self._spread(row)
            inner = self._solve_itself(masses, self._inner)[0]
            found[place] = [
                self._solve(masses, target)[0] - 0.5 * inner - 0.5 * constants[name]
                for name, target in targets.items()
            ]
        return dict(zip(targets, found.T, strict=True))

    def _spread(self, ratios: Array) -> Array:
        """Return the mass of each sample of the sources (`n`) in a mixture."""
        masses = (ratios / self._counts)[self._owner]
        return np.asarray(masses / masses.sum())

    def _measure(self, ratios: Array) -> tuple[float, Array]:
        masses = self._spread(ratios)
        cross, potential = self._solve(masses, self._masses)
        inner, own = self._solve_itself(masses, self._inner)
        by_source = np.bincount(self._owner, potential - own) / self._counts
        return cross - 0.5 * inner - 0.5 * self._constant, by_source - by_source.mean()

    @cached_property
    def _constant(self) -> float:
        return self._solve_itself(self._masses, self._other)[0]

    def _solve(self, masses: Array, target: Array) -> tuple[float, Array]:
        """Return the cost from the mixture to a target, and the potential of each sample (`n`)."""
        rows, columns = masses > 0, target > 0
        a, b = masses[rows], target[columns]
        _, log = self._ot.sinkhorn(
            a, b, self._cross[np.ix_(rows, columns)], self._epsilon, method="sinkhorn", log=True,
            warn=False, numItermax=ITERATIONS, stopThr=TOLERANCE,
        )  # fmt: skip
        _require_converged(float(log["err"][-1]))
        g = self._epsilon * (np.log(log["v"]) - np.log(b))
        # the transform extends the potential to samples of sources without mass
        f = self._transform(self._cross[:, columns], g, b)
        return float(f[rows] @ a + g @ b), f

    def _solve_itself(self, masses: Array, costs: Array) -> tuple[float, Array]:
        """Return the cost from a distribution to itself, and its potential.

        Both potentials are the same one, and the mean of it and its transform converges in a few steps
        (Feydy et al. 2019, section 3.2), where Sinkhorn's alternate steps take thousands.
        """
        rows = masses > 0
        inside, a = costs[np.ix_(rows, rows)], masses[rows]
        f, change = np.zeros(len(a)), np.inf
        for _ in range(ITERATIONS):
            moved = self._transform(inside, f, a)
            change = float(np.abs(moved - f).max()) / self._epsilon
            f = 0.5 * (f + moved)
            if change < TOLERANCE:
                break
        _require_converged(change)
        return float(2 * f @ a), self._transform(costs[:, rows], f, a)

    def _transform(self, costs: Array, potential: Array, masses: Array) -> Array:
        """Return −ε log Σ_j m_j exp((potential_j − cost_ij) ÷ ε) for each row."""
        exponents = (potential - costs) / self._epsilon
        most = exponents.max(axis=1, keepdims=True)
        sums = np.exp(exponents - most) @ masses
        return np.asarray(-self._epsilon * (most[:, 0] + np.log(sums)))


def _require_converged(error: float) -> None:
    if not error < ACCEPTED:
        raise TransportError(
            f"Transport did not converge in {ITERATIONS:,} steps (error {error:.1e}): the embeddings "
            "are too far apart for its regularization; embed the text by another model."
        )


def _squared(first: Array, second: Array) -> Array:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2 * first @ second.T, 0.0))


def _load_library() -> Any:
    require_extra("transport")
    # arrays are NumPy's: POT would import every other library that is installed
    for name in ("PYTORCH", "JAX", "TENSORFLOW", "CUPY"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{name}", "1")
    import ot

    return ot
