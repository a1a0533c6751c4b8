"""Checks of how a study searches: by trained models, by a method of others, with a prior from text."""

from typing import TYPE_CHECKING

from mixopt.config.benchmarks import WHOLE_MODEL_CONFIGS

if TYPE_CHECKING:
    from mixopt.config.study import StudyConfig


def check_regmix(study: "StudyConfig") -> None:
    """Check that a search by trained models has text for them, and no validation beside it.

    Args:
        study: The study, or that of a phase.

    Raises:
        ValueError: It lacks a text, or has a validation.
    """
    if study.search_method != "regmix":
        return
    if study.validation is not None:
        raise ValueError(
            "validation tests proxies, and search.method: regmix trains every candidate; leave one of "
            "them out"
        )
    for expert in study.experts:
        if expert.text is None:
            raise ValueError(
                f"search.method: regmix: expert {expert.domain!r} has no text, and runs read every "
                "domain; add its text"
            )


def check_published(study: "StudyConfig") -> None:
    """Check that a method of others goes with the objective, the training and the text.

    Args:
        study: The study, or that of a phase.

    Raises:
        ValueError: It does not; the message names the fields.
    """
    method = study.published_method
    if method is None:
        return
    if study.search.aggregate == "worst":
        raise ValueError(
            f"search.method: {method} minimizes a mean, and search.aggregate is worst; leave one of "
            "them out"
        )
    if study.search.lisa_layers is not None and study.training.method != "full":
        raise ValueError(
            f"search.lisa_layers trains whole layers, and training.method is {study.training.method}; "
            "leave one of them out"
        )
    if method == "projektor" and study.training.decays:
        raise ValueError(
            "search.method: projektor scores runs at half of their length, and with training.schedule "
            f"{study.training.schedule}, a decaying learning rate, a half-way checkpoint is not a "
            "finished run; set it to constant"
        )
    for expert in study.experts:
        if expert.text is None and study.method_trains:
            raise ValueError(
                f"search.method: {method}: expert {expert.domain!r} has no text, and what the method "
                "trains reads every domain; add its text"
            )


def check_text_prior(study: "StudyConfig") -> None:
    """Check that texts can be compared where they give the prior mean.

    Args:
        study: The study, or that of a phase.

    Raises:
        ValueError: A domain, or what chooses, has no text.
    """
    if not study.search.text_prior:
        return
    for expert in study.experts:
        if expert.text is None:
            raise ValueError(
                f"search.text_prior: expert {expert.domain!r} has no text to compare with the "
                "benchmarks; add its text, or leave text_prior out"
            )
    weights = study.search.capability_weights
    chosen = [
        benchmark
        for benchmark in study.benchmarks
        if benchmark.role == "search" and weights.get(benchmark.capability, 1.0) > 0
    ]
    if all(isinstance(benchmark, WHOLE_MODEL_CONFIGS) for benchmark in chosen):
        raise ValueError(
            "search.text_prior: no benchmark that chooses has text (bits_per_byte, continuations or "
            "choices); give one, or leave text_prior out"
        )
