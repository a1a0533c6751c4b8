"""What searching the best mixture anew after a few runs changes, judged by all runs of a world's pool.

    python studies/arena/refined.py A B C --out OUT [--csv FILE]

For each utility of a world, `n` runs of one unit are drawn from its pool. The best candidate of a study
(ensembles, mixtures around natural, the runs themselves) is compared with the best one between
candidates (as in `mixopt/pipeline/refinement.py`) and with the best of a search that is free to leave
them, by the gain model given every run of the pool at every length. Nothing is trained. The judge has
the ensembles' errors where no run of the pool is near.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from compare import Scale, list_pool, weigh
from worlds import LENGTHS, UNIT, WORLDS, World

from mixopt.mixture import Array
from mixopt.optimization import ensemble_search
from mixopt.optimization.decision import TIE
from mixopt.optimization.ensemble_search import LossSearch
from mixopt.optimization.objective import draw_around
from mixopt.pipeline.gains import StudyGains
from mixopt.pipeline.refinement import search_between
from mixopt.surrogates.ensemble import response_weights
from mixopt.surrogates.gain_model import GainPosterior
from mixopt.surrogates.metric_arrays import signs

COUNTS = (2, 4, 8)
DRAWS = 4
"""Draws of runs for each utility and number."""
CANDIDATES = 30
"""Mixtures around natural beside the best ensembles."""
STARTS = 2  # best candidates from which the free search starts
STEP = 1e-3  # of a weight, in differences
ensemble_search.STEPS = 28  # of SLSQP: 400 ensembles a search


class ExpectedScores:
    """Expected scores of real training as functions of the ensemble's weights, natural's being 0."""

    def __init__(self, gains: StudyGains, posterior: GainPosterior) -> None:
        self._gains, self._posterior = gains, posterior
        search = gains.search
        self._space, self._gamma = search.space, search.ensemble_response
        self._units = gains.objective.spreads * signs(gains.metrics)

    def losses(self, weights: Array) -> Array:
        """Return the expected scores (`m`)."""
        return np.asarray(self._scores(weights[None])[0])

    def losses_and_jacobian(self, weights: Array) -> tuple[Array, Array]:
        """Return the expected scores (`m`) and their derivatives by each weight (`m x k`)."""
        # w need not sum to 1: the ratios that it stands for do
        scores = self._scores(np.vstack([weights, weights + STEP * np.eye(len(weights))]))
        return scores[0], (scores[1:] - scores[0]).T / STEP

    def _scores(self, weights: Array) -> Array:
        requested = response_weights(np.maximum(weights, 0.0), 1 / self._gamma)
        asked = self._gains.mixtures(self._space.ratios(requested), self._gains.tokens)
        return np.asarray(self._posterior.expected(asked) * self._units)


def search_expected(gains: StudyGains, posterior: GainPosterior, candidates: Array) -> Array | None:
    """Return the mixture (`d`) that is expected to gain most, within all limits of the search space.

    Args:
        gains: What is known of gains before any run.
        posterior: Given the runs.
        candidates: Mixtures among which the search starts (`q x d`).

    Returns:
        None where it is not above every candidate by more than a tie.
    """
    space, objective = gains.search.space, gains.objective
    combinations = objective.combinations()

    def expected(rows: Array) -> Array:
        asked = gains.mixtures(rows, gains.tokens)
        return np.asarray(posterior.expected(asked, combinations).min(axis=1))

    values = expected(candidates)
    search = LossSearch(
        ExpectedScores(gains, posterior), objective.utility(np.zeros(len(gains.metrics))), space,
        gains.search.ensemble_response,
    )  # fmt: skip
    best = candidates[np.argsort(-values, kind="stable")[:STARTS]]
    starts = space.pull(np.stack([space.weights_for(row)[0] for row in best]))
    found = space.ratios(np.stack([search._climb(start) for start in starts])).round(12)
    reached = expected(found)
    if reached.max() <= values.max() + TIE * objective.usual_gain:
        return None
    return np.asarray(found[int(reached.argmax())])


def judge(world: World, out: Path, scale: Scale) -> pd.DataFrame:
    """Return a row for each utility, number of runs and draw."""
    rows = []
    for utility in world.utilities():
        weights = weigh(world, utility, scale)
        study = scale.open_study(
            world, out, "judge", search={"method": "ensemble", "capability_weights": weights}
        )
        trials = study.search()
        search, policy = study.open_search(), study.open_policy()
        gains = StudyGains(study.context, search, policy, trials)
        combinations = gains.objective.combinations()
        names = [metric.name for metric in gains.metrics]
        pool = list_pool(world, names)
        whole = gains.condition(gains.observe(pool))
        naturals = [e for e in pool if np.abs(e.ratios - gains.natural).max() < 1e-9]
        others = [e for e in pool if e.tokens == UNIT and e.seed == 0
                  and np.abs(e.ratios - gains.natural).max() > 1e-9]  # fmt: skip
        leaders = gains.search_ensembles(0)
        around = draw_around(gains.natural, CANDIDATES, np.random.default_rng(0))
        for n in COUNTS:
            for draw in range(DRAWS):
                rng = np.random.default_rng([n, draw])
                picked = [others[i] for i in rng.choice(len(others), n, replace=False)]
                runs = gains.observe([*naturals, *picked])
                posterior = gains.condition(runs)
                fixed = np.vstack([leaders, around, [each.ratios for each in picked]])
                asked = gains.mixtures(fixed, gains.tokens)
                expected = posterior.expected(asked, combinations).min(axis=1)
                best = fixed[int(expected.argmax())]
                free = search_expected(gains, posterior, fixed)
                near = search_between(gains, posterior, fixed)
                for kind, found in (("free", free), ("between", near)):
                    pair = np.stack([best, best if found is None else found])
                    both = gains.mixtures(pair, gains.tokens)
                    said = posterior.expected(both, combinations).min(axis=1)
                    judged = whole.expected(both, combinations).min(axis=1)
                    rows.append({
                        "world": world.name, "utility": utility.name, "runs": n, "draw": draw,
                        "kind": kind, "found": found is not None, "said": said[1] - said[0],
                        "judged": judged[1] - judged[0], "best": judged[0],
                    })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worlds", nargs="+", choices=WORLDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    frame = pd.concat([judge(WORLDS[name], args.out, Scale()) for name in args.worlds])
    if args.csv is not None:
        frame.to_csv(args.csv, index=False, float_format="%.4f")
    problems = frame.groupby(["kind", "world", "utility", "runs"])[
        ["found", "said", "judged"]
    ].mean()
    print(f"{DRAWS} draws a problem, at {LENGTHS[-1]:,} tokens")
    print(problems.groupby(["kind", "runs"]).agg(["mean", "sem"]).round(3).to_string())
    print(problems.groupby(["kind", "world"]).mean().round(3).to_string())
    for kind, own in frame[frame.found].groupby("kind"):
        print(f"{kind}, where it found one ({len(own)} of {len(frame) // 2}): said "
              f"{own.said.mean():+.3f}, judged {own.judged.mean():+.3f}, worse by more than {TIE} in "
              f"{(own.judged < -TIE).mean():.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
