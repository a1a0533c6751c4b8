"""Runs that a method trains and fits, together with those that exist.

Shapes: `n` runs, `d` domains, `m` metrics.
"""

import numpy as np

from mixopt.baselines.base import Problem
from mixopt.errors import RunError
from mixopt.mixture import Array


def train_swarm(problem: Problem, ratios: Array) -> tuple[Array, Array]:
    """Train runs on mixtures (`n x d`); return the mixtures and scores of these and the runs so far."""
    scores = problem.train(ratios) if len(ratios) else np.empty((0, len(problem.metrics)))
    return np.vstack([problem.run_ratios, ratios]), np.vstack([problem.run_scores, scores])


def drop_failed(ratios: Array, losses: Array) -> tuple[Array, Array]:
    """Return the runs that have a score.

    Raises:
        RunError: None has.
    """
    known = np.isfinite(losses).any(axis=1)
    if not known.any():
        raise RunError(
            f"None of the method's {len(losses)} runs has a score; the messages before name the causes: "
            "fix them and run again (what is finished is kept)."
        )
    return ratios[known], losses[known]


def list_own_domains(problem: Problem) -> list[int | None]:
    """Return the index of the domain that each metric scores the held-out text of; None without one."""
    domains = problem.space.domains
    return [
        domains.index(metric.own_domain) if metric.own_domain in domains else None
        for metric in problem.metrics
    ]
