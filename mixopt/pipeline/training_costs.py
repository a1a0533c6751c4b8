"""Which trainings the scores of a study's runs come from, and what these cost.

Shapes: `d` domains.
"""

from collections.abc import Sequence
from math import log

import numpy as np

from mixopt.config.cross_checks import NATURAL_SEEDS
from mixopt.mixture import Array, Mixture
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.mixture_runs import first_checkpoints, name_mixture, order_natural
from mixopt.surrogates.gain_model import SAME

Training = tuple[bytes, int, int]
"""Ratios, seed, and length where a mixture has several trainings with a seed."""


class Trainings:
    """Tells the trainings of a study from each other.

    With a rate that decays each length is a training. At a constant rate the short lengths are
    checkpoints of the longest, unless the store has the short run too: each run starts from the base,
    so a mixture that was trained briefly and later for longer was trained twice.

    Args:
        context: The study.
    """

    def __init__(self, context: StudyContext) -> None:
        config = context.config
        self._context, self._decays = context, config.training.decays
        self._lengths = config.run_lengths
        self._marks = sorted({*first_checkpoints(config), *config.run_lengths})
        self._natural = order_natural(context)
        self._short: dict[tuple[bytes, int], bool] = {}

    def name(self, observation: Observation) -> Training:
        """Return what tells the training of an observation from others.

        Args:
            observation: A run at one length.
        """
        key, tokens = _key(observation.ratios, observation.seed), self._length(observation.tokens)
        if self._decays:
            return *key, tokens
        if not self._has_short(observation.ratios, observation.seed):
            return *key, 0
        return *key, self._lengths[tokens > self._lengths[0]]

    def count_tokens(self, observed: Sequence[Observation]) -> int:
        """Return the tokens of the trainings behind some observations, and of natural's first runs.

        Args:
            observed: Runs at their lengths.
        """
        tokens: dict[Training, int] = {}
        for each in observed:
            name = self.name(each)
            tokens[name] = max(tokens.get(name, 0), each.tokens)
        missing = len(self._first_natural_seeds(observed)) * self._lengths[0]
        return sum(tokens.values()) + missing

    def price(self, observed: Sequence[Observation], ratios: Array, length: int) -> int:
        """Return the tokens of a run with its first unused seed, and of natural with it if that is new.

        Args:
            observed: Runs at their lengths.
            ratios: Of the run (`d`).
            length: One of the study's lengths of runs.
        """
        trained: dict[tuple[bytes, int], set[int]] = {}
        natural = self._natural.vector(self._context.config.domains)
        for seed in self._first_natural_seeds(observed):
            trained.setdefault(_key(natural, seed), set()).add(self._lengths[0])
        for each in observed:
            known = trained.setdefault(_key(each.ratios, each.seed), set())
            known.add(self._length(each.tokens))

        def has(row: Array, seed: int) -> bool:
            lengths = trained.get(_key(row, seed), set())
            return length in lengths if self._decays else max(lengths, default=0) >= length

        seed = 0
        while has(ratios, seed):
            seed += 1
        return length if has(natural, seed) else 2 * length

    def _length(self, tokens: int) -> int:
        """Return the length that was asked for; what is trained is whole optimizer steps."""
        return min(self._marks, key=lambda mark: abs(log(tokens / mark)))

    def _has_short(self, ratios: Array, seed: int) -> bool:
        """Return whether the store has a run of the shortest length beside longer ones."""
        key = _key(ratios, seed)
        if len(self._lengths) == 1:
            return False
        if key not in self._short:
            self._short[key] = self._is_stored(ratios, seed)
        return self._short[key]

    def _is_stored(self, ratios: Array, seed: int) -> bool:
        from mixopt.pipeline.training_runs import mixture_run

        mixture = Mixture.from_vector(self._context.config.domains, ratios)
        marks = self._lengths[:1]
        if self._is_natural(ratios) and seed < NATURAL_SEEDS:
            marks = first_checkpoints(self._context.config)
        run = mixture_run(self._context, f"{name_mixture(mixture)}-{seed}", mixture, seed, marks)
        return self._context.store.find(run.artifact) is not None

    def _first_natural_seeds(self, observed: Sequence[Observation]) -> list[int]:
        """Return seeds of natural's first runs that a budget has and that are not among the observed.

        The objective is measured with them before anything is bought.
        """
        if self._context.config.budget is None:
            return []
        natural = self._natural.vector(self._context.config.domains)
        seen = {each.seed for each in observed if self._is_natural(each.ratios)}
        return [
            seed
            for seed in range(NATURAL_SEEDS)
            if seed not in seen and self._is_stored(natural, seed)
        ]

    def _is_natural(self, ratios: Array) -> bool:
        natural = self._natural.vector(self._context.config.domains)
        return bool(np.abs(ratios - natural).max() < SAME)


def _key(ratios: Array, seed: int) -> tuple[bytes, int]:
    return ratios.round(9).tobytes(), seed
