"""The arguments of `fit`: what a target may be, and the settings that it uses.

Shapes: `m` metrics.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from mixopt.errors import (
    ArgumentTypeError,
    TrialsError,
    UserError,
    did_you_mean,
    require_number,
)
from mixopt.trial import Metric, Normalisation
from mixopt.trials import Trials

AGGREGATE_TARGETS = ("utility", "average", "worst")
NORMALISED_TARGETS = ("utility", "worst")
"""Targets in which metrics are normalized and averaged by capability."""

Target = str | Mapping[str, float]


def read_target(target: Any) -> Target:
    """Return the name of an objective, or weights by metric.

    Args:
        target: A name, or a mapping or a Series of weights.

    Raises:
        ArgumentTypeError: It is neither, or a weight is no number.
    """
    if isinstance(target, str):
        return target
    if not hasattr(target, "items"):
        raise ArgumentTypeError(
            f"target is a {type(target).__name__}; give {', '.join(AGGREGATE_TARGETS)}, the name of one "
            "metric, or weights by metric, such as {'loss': 1}."
        )
    weights = dict(target.items())
    for name, weight in weights.items():
        require_number(f"The weight of metric {name!r}", weight)
    return weights


def name_target(trials: Trials, target: Target) -> Target:
    """Return a target in which metrics have their own names, not those of their columns.

    Args:
        trials: The table.
        target: As `read_target` returns it.
    """
    if not isinstance(target, str):
        return {trials.own_name(name): weight for name, weight in target.items()}
    return target if target in AGGREGATE_TARGETS else trials.own_name(target)


def read_names(name: str, names: Any) -> tuple[str, ...]:
    """Return a list of names, which may be a generator, as a tuple.

    Args:
        name: Name of the argument, for the message.
        names: What was passed.

    Raises:
        ArgumentTypeError: It is a single string or no list.
    """
    if isinstance(names, str) or not hasattr(names, "__iter__"):
        shown = f"{names!r}; give [{names!r}]" if isinstance(names, str) else (
            f"a {type(names).__name__}; give a list of names")  # fmt: skip
        raise ArgumentTypeError(f"{name} is {shown}.")
    return tuple(names)


def read_numbers(name: str, numbers: Any) -> dict[str, float]:
    """Return numbers by name, of a mapping or a Series; none if nothing is given.

    Args:
        name: Name of the argument, for the message.
        numbers: What was passed.

    Raises:
        ArgumentTypeError: It is no mapping, or a value is no number.
        UserError: A value is negative, NaN or infinite.
    """
    if numbers is None:
        return {}
    if not hasattr(numbers, "items"):
        raise ArgumentTypeError(
            f"{name} is a {type(numbers).__name__}; give a number by name, such as {{'loss': 1}}."
        )
    plain = dict(numbers.items())
    for key, number in plain.items():
        value = require_number(f"{name} of {key!r}", number)
        if value < 0:
            raise UserError(f"{name} of {key!r} is {value:g}; give a number that is not negative.")
    return plain


def find_metrics(trials: Trials, target: Target) -> tuple[Metric, ...]:
    """Return the metrics of an objective.

    Args:
        trials: The table.
        target: As `read_target` returns it.

    Raises:
        TrialsError: No metric may choose, or there is no such one.
        HoldoutError: One has role holdout.
    """
    if not isinstance(target, str) or target not in AGGREGATE_TARGETS:
        return trials.require_search([target] if isinstance(target, str) else list(target))
    if not trials.search_metrics:
        raise TrialsError("No metric of these trials has role search; give one that role.")
    return trials.search_metrics


def check_settings(
    trials: Trials,
    target: Target,
    *,
    capability_weights: Mapping[str, float],
    trust: Mapping[str, float],
    normalise: Normalisation,
    scales: Mapping[str, float],
) -> None:
    """Check the settings of the utility.

    Args:
        trials: The table, whose metrics and capabilities the settings name.
        target: As `read_target` returns it.
        capability_weights: As in `fit`.
        trust: As in `fit`.
        normalise: As in `fit`.
        scales: As in `fit`.

    Raises:
        TrialsError: The target does not use a setting that is given, or a setting has an unknown name.
        UserError: A scale is 0.
    """
    known = get_args(Normalisation)
    if normalise not in known:
        raise TrialsError(f"normalise={normalise!r} is unknown. {did_you_mean(normalise, known)}")
    given = {
        "capability_weights": capability_weights,
        "trust": trust,
        "scales": scales,
        "normalise": normalise != "z",
    }
    used = {"utility": tuple(given), "worst": ("trust", "scales", "normalise")}
    for name, value in given.items():
        applies = [each for each, names in used.items() if name in names]
        if value and target not in applies:
            raise TrialsError(
                f"{name} are given and the target is {target!r}; they apply to "
                f"{' and '.join(map(repr, applies))} alone: make it the target, or leave them out."
            )
    capabilities = {metric.capability for metric in trials.metrics}
    _check_names("capability_weights", capability_weights, "capability", capabilities)
    metrics = {metric.name for metric in trials.metrics}
    _check_names("trust", trust, "metric", metrics)
    _check_names("scales", scales, "metric", metrics)
    for name, scale in scales.items():
        if scale == 0:
            raise UserError(f"scales of {name!r} is 0; give the difference that counts as 1.")


def _check_names(setting: str, names: Iterable[str], what: str, known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise TrialsError(
                f"{setting} names {name!r}, which is no {what} of these trials. "
                f"{did_you_mean(name, known)}"
            )
