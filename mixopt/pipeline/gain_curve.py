"""The choice given some runs: now, as training was spent, and what the next run would buy.

Shapes: `n` draws, `q` candidates, `d` domains, `c` combinations.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixopt.decision import LearningStep, NextRun
from mixopt.estimate import DrawnEstimate, Estimate
from mixopt.mixture import Array, Mixture
from mixopt.optimization.acquisition import value_of_runs
from mixopt.optimization.decision import TIE, Choice, decide
from mixopt.optimization.objective import Objective
from mixopt.pipeline.confirmation import trainable_lengths
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.mixture_runs import has_text
from mixopt.pipeline.training_costs import Trainings
from mixopt.surrogates.gain_model import GainPosterior, Mixtures, Runs

STEPS = 12  # most steps after the experts
DRAWS = 4096  # of the gains
CONSIDERED = 12  # candidates with the highest expected gains of which next runs are considered
SEED = 1_000_004


def learning_steps(
    context: StudyContext,
    gains: StudyGains,
    asked: Mixtures,
    observed: Sequence[Observation],
    online_tokens: int = 0,
) -> tuple[LearningStep, ...]:
    """Return what would have been chosen after the experts, and after each run that tells of a gain.

    At most `STEPS` of the runs, evenly spaced, the last among them. What was trained after it, or told
    of no gain at all (runs of natural alone, or that diverged), is a last step that knows no more.

    Args:
        context: The study.
        gains: What is known of gains before any run.
        asked: Mixtures that may be chosen (`q`), at the tokens at which gains are stated.
        observed: The runs in the order of training.
        online_tokens: Tokens of training that a method of others took beside experts and runs; it comes
            before the candidate that it recommends can be trained.
    """
    counts = [len(gains.pair(observed[:end])) for end in range(1, len(observed) + 1)]
    # where the next observation tells of one more gain; checkpoints of one run are one step
    trainings = Trainings(context)
    keys = [trainings.name(each) for each in observed]
    ends, known = list[int](), 0
    for end, count in enumerate(counts, 1):
        if count > known and (end == len(keys) or keys[end] != keys[end - 1]):
            ends.append(end)
            known = count
    if len(ends) > STEPS:
        ends = [ends[round(i)] for i in np.linspace(0, len(ends) - 1, STEPS)]
    trained = [name for name in context.compositions if name not in context.given_experts]
    spent = len(trained) * context.config.training.expert_length
    steps = [_step(context, gains, asked, (), spent)]
    spent += online_tokens
    for end in ends:
        tokens = spent + trainings.count_tokens(observed[:end])
        steps.append(_step(context, gains, asked, observed[:end], tokens))
    spent += trainings.count_tokens(observed)
    if spent > steps[-1].tokens:
        steps.append(replace(steps[-1], tokens=spent))
    return tuple(steps)


def next_runs(
    context: StudyContext,
    posterior: GainPosterior,
    asked: Mixtures,
    combinations: Array,
    observed: Sequence[Observation],
) -> tuple[NextRun, ...]:
    """Return, of each length of the study's runs, the one that is worth most; none that is worth 0.

    Runs that would read a domain more often than `training.max_epochs` allows are not among them.

    Args:
        context: The study.
        posterior: Of the gains, given all runs.
        asked: Mixtures that may be chosen (`q`), at the tokens at which gains are stated.
        combinations: Weights of the objective (`c x m`).
        observed: The runs so far.
    """
    mean, covariance = posterior.gains(asked, combinations)
    sds = np.sqrt(np.maximum(np.einsum("iaia->ia", covariance), 0.0)).max(axis=1)
    order = np.argsort(-(mean.min(axis=1) + sds), kind="stable")[:CONSIDERED].tolist()
    trainings, found = Trainings(context), []
    rows = {place: asked.ratios[place] for place in order}
    mixtures = {n: Mixture.from_vector(context.config.domains, row) for n, row in rows.items()}
    for length in trainable_lengths(context):
        places = [place for place in order if has_text(context, mixtures[place], length)]
        if not places:
            continue
        at = asked.pick(places, np.full(len(places), float(length)))
        values = value_of_runs(posterior, asked, at, combinations)
        best = int(values.argmax())
        if values[best] > 0:
            ratios, mixture = rows[places[best]], mixtures[places[best]]
            price = trainings.price(observed, ratios, length)
            found.append(NextRun(mixture, length, price, float(values[best])))
    return tuple(found)


def choose(
    context: StudyContext, gains: StudyGains, asked: Mixtures, runs: Runs | None
) -> tuple[GainPosterior, Array, Choice]:
    """Return the posterior given some runs, joint draws of the gain (`n x q`), and the choice.

    Args:
        context: The study.
        gains: What is known of gains before any run.
        asked: Mixtures that may be chosen (`q`), at the tokens at which gains are stated.
        runs: What was trained; None for nothing.
    """
    posterior = gains.condition(runs)
    rng = np.random.default_rng([context.config.seed, SEED])
    draws = posterior.draw(asked, gains.objective.combinations(), DRAWS, rng).min(axis=2)
    known = gains.natural[None] if runs is None else np.vstack([gains.natural, runs.ratios])
    apart = np.linalg.norm(np.sqrt(asked.ratios)[:, None] - np.sqrt(known)[None], axis=2)
    tie = TIE * gains.objective.usual_gain
    return posterior, draws, decide(draws, apart.min(axis=1), tie=tie)


def estimate_gain(draws: Array, objective: Objective) -> Estimate:
    """Return the gain of one candidate.

    The least of several normal gains is not normal: its chance and interval are those of the draws.

    Args:
        draws: Of its gain (`n`).
        objective: Whether the worst capability counts.
    """
    mean, std = float(draws.mean()), float(draws.std())
    if not objective.worst:
        return Estimate(mean, std)
    low, high = np.percentile(draws, [2.5, 97.5]).tolist()
    return DrawnEstimate(mean, std, above=float((draws > 0).mean()), low=low, high=high)


def count_runs(context: StudyContext, gains: StudyGains, observed: Sequence[Observation]) -> int:
    """Return the number of trainings that tell of a gain; checkpoints of one count once.

    Args:
        context: The study.
        gains: Pairs runs with natural's.
        observed: The runs at all their lengths.
    """
    trainings = Trainings(context)
    return len({trainings.name(run) for run, _ in gains.pair(observed)})


def _step(
    context: StudyContext,
    gains: StudyGains,
    asked: Mixtures,
    observed: Sequence[Observation],
    tokens: int,
) -> LearningStep:
    runs = gains.observe(observed)
    _, draws, choice = choose(context, gains, asked, runs)
    own = draws[:, choice.candidate]
    count = count_runs(context, gains, observed)
    return LearningStep(tokens, count, estimate_gain(own, gains.objective), choice.moves)
