"""Estimating: candidates scored on a share of the items, the rest told by control variates.

Shapes: `k` experts.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from mixopt.proxies.engines import Weights
from mixopt.proxies.scoring import Scorer
from mixopt.proxies.subsets import Draw, draw_subsets, fit_controls, make_controls
from mixopt.proxies.swarm import Flats, Results, Swarm, load_results, save_results
from mixopt.proxies.tasks import Array
from mixopt.trials import Kind


class Estimator:
    """Scores candidates on a share of each benchmark's items.

    Args:
        swarm: Scores whole benchmarks.
        seen: Weights (`k` each) of candidates that were scored whole; how control variates predict a
            merge is learnt from them.
        share: Of the items.
        seed: Of the draw of items.
    """

    def __init__(self, swarm: Swarm, seen: Sequence[Weights], share: float, seed: int) -> None:
        self._swarm, self._seen = swarm, [list(map(float, row)) for row in seen]
        self._share, self._seed = share, seed

    @cached_property
    def _experts(self) -> list[Results]:
        corners = np.eye(self._swarm.engine.k).tolist()
        return [self._swarm.score(corner)["merged"] for corner in corners]

    @cached_property
    def _base(self) -> Results:
        return self._swarm.score_base()

    @cached_property
    def _drawn(self) -> tuple[Scorer, list[Draw]]:
        return draw_subsets(self._swarm.scorer.tasks, self._experts, self._share, self._seed)

    @cached_property
    def _coefficients(self) -> dict[str, Array]:
        """By benchmark: how control variates predict a merge's item values (`c`)."""
        found = [self._swarm.score(row) for row in self._seen]
        told = {}
        for task in self._swarm.scorer.tasks:
            name = task.metric.name
            controls = [
                self._controls(row, results["ensembled"], name)
                for row, results in zip(self._seen, found, strict=True)
            ]
            told[name] = fit_controls(controls, [r["merged"][name].values for r in found])
        return told

    def _controls(self, row: Weights, ensemble: Results, name: str) -> Array:
        weights = self._swarm.respond(row)
        experts = [results[name] for results in self._experts]
        return make_controls(weights, ensemble[name], experts, self._base[name])

    @property
    def flops_per_score(self) -> float:
        """Floating-point operations of one forward pass over what is scored."""
        return 2.0 * self._swarm.engine.parameters * self._drawn[0].tokens

    def score_all(self, rows: Sequence[Weights]) -> Iterator[dict[Kind, Results]]:
        """Item results at each of `rows` (`k` each): the ensemble's in full, the merge's estimated."""
        scorer, _ = self._drawn
        engine, store = self._swarm.engine, self._swarm.store
        keys = [self._key(row) for row in rows]
        lacking = {
            str(asked): asked
            for row, key in zip(rows, keys, strict=True)
            if store.find("estimates", "candidate", key) is None
            for asked in [self._swarm.respond(row)]
        }
        flats = Flats(engine, scorer, list(lacking.values()))
        for row, key in zip(rows, keys, strict=True):

            def build(scratch: Path, row: Weights = row) -> None:
                asked = self._swarm.respond(row)
                ensemble = self._swarm.scorer.read(self._swarm.ensemble.mix(asked))
                merged = self._estimate(row, scorer.read(flats.of(asked)), ensemble)
                merged |= engine.measure(self._swarm.scorer, asked)
                save_results({"merged": merged, "ensembled": ensemble}, scratch)

            yield load_results(store.make("estimates", "candidate", key, build))

    def _estimate(self, weights: Weights, scored: Results, ensemble: Results) -> Results:
        merged = {}
        for task, draw in zip(self._swarm.scorer.tasks, self._drawn[1], strict=True):
            name = task.metric.name
            controls = self._controls(weights, ensemble, name)
            predicted = controls @ self._coefficients[name]
            merged[name] = draw.estimate(scored[name].values, predicted, ensemble[name].sizes)
        return merged

    def _key(self, weights: Weights) -> dict[str, object]:
        told = {"share": self._share, "seed": self._seed, "seen": self._seen}
        return self._swarm.candidate_key(weights) | told
