"""Sections of a study that a verb needs, asked for before anything is trained."""

from mixopt.config.study import BudgetConfig, StudyConfig, ValidationConfig
from mixopt.errors import ConfigError


def require_validation(config: StudyConfig) -> ValidationConfig:
    """Return the section `validation` of a study.

    Args:
        config: Of the study.

    Raises:
        ConfigError: It has none.
    """
    if config.validation is None:
        raise ConfigError(
            "The study has no `validation` section; add one (mixtures: 6, seeds: 2) to train "
            "proxy runs."
        )
    return config.validation


def require_budget(config: StudyConfig) -> BudgetConfig:
    """Return the section `budget` of a study.

    Args:
        config: Of the study.

    Raises:
        ConfigError: It has none.
    """
    if config.phases:
        raise ConfigError(
            "The study has phases, which are searched one by one and have no budget; `mixopt run` runs "
            "them all, or take one of them as a study of its own."
        )
    if config.budget is None:
        raise ConfigError(
            "The study has no `budget` section; add one (runs: 16) to train runs where they help."
        )
    return config.budget
