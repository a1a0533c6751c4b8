"""The surrogate in a form that the page can evaluate for any mixture: the "Try it" part.

See docs/methods.md, section 10.1.
Shapes: `n` mixtures, `d` domains, `k` columns of the emulator, `q` query points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from mixopt.mixture import Array, Mixture
from mixopt.optimization.weight_space import WeightSpace
from mixopt.proposal import Proposal
from mixopt.surrogates.surrogate import Surrogate

SHIFTS = (0.01, 0.1)  # added to ratios before the logarithm
DIGITS = 10  # significant digits of the coefficients, which Python and the page compute with alike
MAX_NODES, MIN_NODES = 480, 160  # mixtures at which the emulator interpolates the surrogate
MAX_NUMBERS = 80_000  # nodes times columns: about two megabytes of HTML
N_TEST = 200  # mixtures that are not nodes, where the emulator's error is measured
N_FEASIBLE = 300
SEED = 1_000_003
BEST_OTHER = "best other"
"""Name of the candidate among the starting mixtures, where a decision keeps the reference."""
NEAR, ASIDE = 1e-4, 0.03
"""Within this squared distance of the reference, a variance is taken at a point moved by this share."""
FAR = 10.0
"""Quartile ranges beyond which a node's gain is left out of the emulator."""
MIN_VARIANCE = 1e-18  # lower limit, because a metric that is constant has no variance


@dataclass(frozen=True, eq=False)
class Emulator:
    """A cubic radial basis function interpolant of the surrogate, small enough to embed in a page.

        f(r) = Σᵢ wᵢ ‖√r − √rᵢ‖³ + b·φ(r) + c

    (Fornberg & Flyer, "A Primer on Radial Basis Functions", §2). The tail φ holds √r, r, log(r + 0.01)
    and log(r + 0.1) of every domain, in which the surrogate's models are nearly linear.

    Attributes:
        nodes: √ratios (`n x d`).
        weights: w (`n x k`).
        slopes: b (`4d x k`), in the order of φ.
        offsets: c (`k`).
    """

    nodes: Array
    weights: Array
    slopes: Array
    offsets: Array

    @classmethod
    def fit(cls, ratios: Array, outputs: Array) -> "Emulator":
        """Interpolate outputs.

        Args:
            ratios: Mixtures (`n x d`), all different.
            outputs: Of those mixtures (`n x k`).
        """
        nodes = _round(np.sqrt(np.maximum(ratios, 0.0)))
        n = len(nodes)
        tail = np.column_stack([_tail_terms(nodes), np.ones(n)])
        size = n + tail.shape[1]
        system = np.zeros((size, size))
        system[:n, :n] = _cubic(nodes, nodes)
        system[:n, n:], system[n:, :n] = tail, tail.T
        right = np.concatenate([outputs, np.zeros((tail.shape[1], outputs.shape[1]))])
        # the system is singular: ratios sum to one, and few nodes do not determine the whole tail
        solution = np.linalg.lstsq(system, right, rcond=1e-14)[0]
        return cls(nodes, *map(_round, (solution[:n], solution[n:-1], solution[-1])))

    def predict(self, ratios: Array) -> Array:
        """Return outputs (`q x k`).

        Args:
            ratios: `q x d`.
        """
        points = np.sqrt(np.maximum(ratios, 0.0))
        tail = _tail_terms(points) @ self.slopes
        return np.asarray(_cubic(points, self.nodes) @ self.weights + tail + self.offsets)

    def to_dict(self) -> dict[str, list[object]]:
        """Return plain lists for JSON."""
        return {name: values.tolist() for name, values in vars(self).items()}


def _tail_terms(roots: Array) -> Array:
    """Return φ (`n x 4d`) of √ratios (`n x d`): √r, r, log(r + 0.01), log(r + 0.1)."""
    shares = np.square(roots)
    return np.hstack([roots, shares, *(np.log(shares + shift) for shift in SHIFTS)])


def _cubic(points: Array, nodes: Array) -> Array:
    distance = cdist(points, nodes)  # holds no array of points × nodes × domains
    return np.asarray(distance**3)


def _round(values: Array) -> Array:
    flat = [float(f"{value:.{DIGITS - 1}e}") for value in np.ravel(values)]
    return np.array(flat).reshape(np.shape(values))


@dataclass(frozen=True)
class Output:
    """A quantity that the page computes for any mixture, and its emulator columns.

    Attributes:
        name: `gain`, a capability or a metric.
        kind: `utility` or `capability` (gains over the reference), or `metric` (score and change).
        better: The better direction of a metric, `higher` or `lower`.
        mean: Column of the value.
        change: Column of the change against the reference; for gains the same as `mean`.
        log_ratio: Column of log(variance of that change ÷ ‖√ratios − √reference‖²).
            The variance itself falls to zero at the reference, where it could not be interpolated.
    """

    name: str
    kind: str
    better: str
    mean: int
    change: int
    log_ratio: int


@dataclass(frozen=True, eq=False)
class WhatIf:
    """An emulator of the surrogate, with what the page needs to use it.

    Attributes:
        domains: The order of every `d`.
        emulator: Computes the outputs.
        outputs: The meaning of the emulator's columns.
        reference: Name of the mixture that gains are relative to.
        sqrt_reference: √ratios of that mixture (`d`).
        starts: Mixtures to start from, by name.
        feasible: Mixtures within the constraints (`n x d`), for the Pareto front.
        lower: Lower bound of each domain's ratio (`d`).
        upper: Upper bound (`d`).
        constraints: The other constraints, a sentence each.
        error: 95% quantile of |emulator − surrogate| of the gain, at mixtures that are not nodes.
        gain_std: Standard deviation of the surrogate's gain over the same mixtures.
        band_error: 95% quantile of the relative error of the gain's standard deviation.
    """

    domains: tuple[str, ...]
    emulator: Emulator
    outputs: Sequence[Output]
    reference: str
    sqrt_reference: Array
    starts: Mapping[str, Mixture]
    feasible: Array
    lower: Array
    upper: Array
    constraints: Sequence[str]
    error: float = 0.0
    gain_std: float = 0.0
    band_error: float = 0.0

    def read(self, output: Output, ratios: Array) -> tuple[Array, Array, Array]:
        """Evaluate an output.

        Args:
            output: One of `outputs`.
            ratios: `q x d`.

        Returns:
            Value, change and the change's standard deviation (`q` each).
        """
        columns = self.emulator.predict(ratios)
        square = _squared_distance(self.sqrt_reference, ratios)
        std = np.sqrt(np.exp(columns[:, output.log_ratio]) * square)
        return columns[:, output.mean], columns[:, output.change], std


def _squared_distance(sqrt_reference: Array, ratios: Array) -> Array:
    # twice the squared Hellinger distance (`q`) from `q x d` ratios
    return np.asarray(np.square(np.sqrt(np.maximum(ratios, 0.0)) - sqrt_reference).sum(axis=1))


def build_what_if(
    surrogate: Surrogate,
    weights: WeightSpace,
    proposals: Sequence[Proposal],
) -> WhatIf:
    """Fit an emulator to a surrogate; gains are relative to the first comparison's mixture.

    Args:
        surrogate: The model to emulate.
        weights: The feasible mixtures.
        proposals: Best first; they and the first one's comparisons are the starting mixtures, and so is
            the best other mixture where its decision keeps the reference.

    Returns:
        The emulator with its measured errors.
    """
    rng = np.random.default_rng(SEED)
    names = ["proposal", *(f"proposal {i}" for i in range(2, len(proposals) + 1))]
    starts = {name: p.ratios for name, p in zip(names, proposals, strict=True)}
    comparisons, decision = proposals[0].comparisons, proposals[0].decision
    if decision is not None and not decision.moves and not decision.alone:
        starts[BEST_OTHER] = decision.candidate
    starts |= {c.name: c.ratios for c in comparisons}
    reference = comparisons[0].name if comparisons else "proposal"
    truth = _SurrogateOutputs(surrogate, starts[reference])
    nodes = _choose_nodes(surrogate, weights, list(starts.values()), truth.n_columns, rng)
    columns = truth.emulator_columns(nodes)
    given = np.stack([mixture.vector(surrogate.domains) for mixture in starts.values()])
    kept = _keep(columns[:, 0], given)
    emulator = Emulator.fit(nodes[kept], columns[kept])
    tested = np.vstack([
        weights.ratios(weights.sample(N_TEST // 2, rng)),
        rng.dirichlet(np.ones(len(surrogate.domains)), N_TEST // 2),
    ])  # fmt: skip
    lower, upper = weights.space.bounds()
    feasible = weights.ratios(weights.sample(N_FEASIBLE, rng))
    what_if = WhatIf(surrogate.domains, emulator, truth.outputs, reference, truth.sqrt_reference,
                     starts, feasible, lower, upper, _describe_constraints(weights))  # fmt: skip
    expected = truth.columns(tested)
    _, gain, std = what_if.read(truth.outputs[0], tested)
    expected_std = np.sqrt(np.maximum(expected[:, 1], 1e-300))
    return replace(
        what_if,
        error=float(np.quantile(np.abs(gain - expected[:, 0]), 0.95)),
        gain_std=float(expected[:, 0].std()),
        band_error=float(np.quantile(np.abs(std / expected_std - 1), 0.95)),
    )


class _SurrogateOutputs:
    def __init__(self, surrogate: Surrogate, reference: Mixture) -> None:
        self._surrogate = surrogate
        self._reference = reference.vector(surrogate.domains)
        self.sqrt_reference: Array = np.sqrt(self._reference)
        metrics = surrogate.utility.metrics
        order = [fitted.metric.name for fitted in surrogate.metrics]
        places = [order.index(metric.name) for metric in metrics]
        # capabilities that count come first
        there = surrogate.predict(self._reference[None])[0][:, places]
        (slopes,) = surrogate.utility.gradient(there)
        counted = {m.capability for m, slope in zip(metrics, slopes, strict=True) if slope != 0}
        names = sorted(surrogate.capability_utilities, key=lambda name: name not in counted)
        self._capabilities = names if len(names) > 1 else []
        self.outputs = [Output("gain", "utility", "higher", 0, 0, 1)]
        for name in self._capabilities:
            self._add(name, "capability", "higher", n_columns=2)
        for fitted in surrogate.metrics:
            self._add(fitted.metric.name, "metric", fitted.metric.better, n_columns=3)

    def _add(self, name: str, kind: str, better: str, *, n_columns: int) -> None:
        start = self.n_columns
        change = start + n_columns - 2
        self.outputs.append(Output(name, kind, better, start, change, start + n_columns - 1))

    @property
    def n_columns(self) -> int:
        return self.outputs[-1].log_ratio + 1

    def emulator_columns(self, ratios: Array) -> Array:
        """Return `columns`, each variance replaced by `Output.log_ratio`."""
        columns = self.columns(ratios)
        places = [output.log_ratio for output in self.outputs]
        # at the reference the ratio is 0 ÷ 0; a little way off it is that of the limit
        near = _squared_distance(self.sqrt_reference, ratios) < NEAR
        corners = np.eye(ratios.shape[1])[ratios.argmin(axis=1)]
        moved = np.where(near[:, None], (1 - ASIDE) * ratios + ASIDE * corners, ratios)
        variances = columns[:, places]
        if near.any():
            variances[near] = self.columns(moved[near])[:, places]
        square = np.maximum(_squared_distance(self.sqrt_reference, moved), NEAR / 100)
        columns[:, places] = np.log(np.maximum(variances, MIN_VARIANCE) / square[:, None])
        return columns

    def columns(self, ratios: Array) -> Array:
        """Return gain and variance, the same by capability, and score, change, variance by metric."""
        surrogate = self._surrogate
        mean, _ = surrogate.predict(ratios)
        change, errors = surrogate.differences(ratios, self._reference)
        gain, std = surrogate.utility_difference(ratios, self._reference)
        columns = [gain, np.square(std)]
        by_capability = surrogate.capability_differences(ratios, self._reference)
        for name in self._capabilities:
            gain, std = by_capability[name]
            columns += [gain, np.square(std)]
        for m in range(len(surrogate.metrics)):
            columns += [mean[:, m], change[:, m], np.square(errors[:, m])]
        return np.stack(columns, axis=1)


def _choose_nodes(
    surrogate: Surrogate,
    weights: WeightSpace,
    starts: Sequence[Mixture],
    n_columns: int,
    rng: np.random.Generator,
) -> Array:
    """Return mixtures (`n x d`) that cover the simplex, more densely where feasible."""
    domains = surrogate.domains
    d = len(domains)
    n = int(np.clip(MAX_NUMBERS // n_columns, MIN_NODES, MAX_NODES))
    given = np.stack([mixture.vector(domains) for mixture in starts])
    # of very many domains the largest: the page moves one at a time
    corners = np.eye(d)[np.argsort(-given.max(axis=0), kind="stable")[: n // 3]]
    # from the first starting mixture towards each corner: the curves of "One domain at a time"
    shares = np.array([0.1, 0.3, 0.5, 0.75])
    rays = np.concatenate([
        (1 - shares[:, None]) * given[0] + shares[:, None] * corner for corner in corners
    ])  # fmt: skip
    seen = surrogate.trials.ratios()[: n // 4]
    fixed = np.vstack([given, corners, rays[: n // 3], seen])
    rest = max(0, n - len(fixed))
    inside = weights.ratios(weights.sample(rest // 2, rng)) if rest > 1 else np.empty((0, d))
    around = rng.dirichlet(np.full(d, 0.7), rest - len(inside))
    return _drop_near_duplicates(np.vstack([fixed, inside, around]))


def _keep(gains: Array, starts: Array) -> NDArray[np.bool_]:
    """Return which nodes (`n`) the emulator passes through: what is usual, and all starting mixtures.

    Args:
        gains: Of the nodes (`n`).
        starts: The starting mixtures, which are the first nodes; some may coincide, as the proposal and
            natural where the decision is to stay.
    """
    kept = _usual(gains)
    kept[: len(_drop_near_duplicates(starts))] = True
    return kept


def _usual(gains: Array) -> NDArray[np.bool_]:
    """Return which gains (`n`) lie within `FAR` quartile ranges of the middle half.

    A corner whose few tokens the target run repeats a hundred times is worse than all else by orders
    of magnitude, and an interpolant through it swings everywhere.
    """
    low, high = np.quantile(gains, [0.25, 0.75])
    return np.asarray(np.abs(gains - (low + high) / 2) <= (FAR + 0.5) * max(high - low, 1e-9))


def _drop_near_duplicates(rows: Array, min_distance: float = 1e-3) -> Array:
    # two close rows would make the interpolation ill-conditioned
    kept, roots, n_kept = np.empty_like(rows), np.empty_like(rows), 0
    for row in np.maximum(rows, 0.0):
        if (np.abs(np.sqrt(row) - roots[:n_kept]).max(axis=1) > min_distance).all():
            kept[n_kept] = row / row.sum()
            roots[n_kept] = np.sqrt(kept[n_kept])
            n_kept += 1
    return kept[:n_kept]


def _describe_constraints(weights: WeightSpace) -> list[str]:
    space = weights.space
    # bounds of single domains are shown beside their sliders
    sentences = [f"{row.text}." for row in space.rows if np.count_nonzero(row.normal) > 1]
    if space.max_kl is None:
        return sentences
    return [*sentences, f"At most {space.max_kl:g} nats of KL divergence from the natural mixture."]
