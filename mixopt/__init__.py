"""mixopt: find the data mixture for a language model's next training run.

Every public name is imported on first use: `import mixopt` loads neither torch nor mlflow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = {
    "mixopt.callbacks.mlflow.proposals": ["read_mlflow_proposal"],
    "mixopt.errors": ["MixoptError"],
    "mixopt.estimate": ["Estimate"],
    "mixopt.exporters.export": ["export"],
    "mixopt.merging.to_disk": ["merge_to_disk"],
    "mixopt.mixture": ["Mixture"],
    "mixopt.optimization.design": ["design_runs"],
    "mixopt.optimization.learning_curve": ["advise"],
    "mixopt.optimization.loss_to_error": ["LossToError"],
    "mixopt.optimization.outcome_constraint": ["OutcomeConstraint"],
    "mixopt.optimization.propose": ["propose"],
    "mixopt.proposal": ["Proposal"],
    "mixopt.report.plots": ["plots"],
    "mixopt.schedule": ["Phase", "Schedule"],
    "mixopt.search_limits": ["Group", "Inequality"],
    "mixopt.search_space": ["SearchSpace"],
    "mixopt.study": ["Study"],
    "mixopt.surrogates.effective_tokens": ["Repetition"],
    "mixopt.surrogates.fit": ["fit"],
    "mixopt.surrogates.surrogate": ["Surrogate"],
    "mixopt.tables.read_trials": ["read_trials"],
    "mixopt.token_budget": ["Budget"],
    "mixopt.trial": ["Metric", "Score", "Trial"],
    "mixopt.trials": ["Trials"],
}
"""Public names by module; the block below says the same to type checkers."""

_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604

if TYPE_CHECKING:
    from mixopt.callbacks.mlflow.proposals import read_mlflow_proposal as read_mlflow_proposal
    from mixopt.errors import MixoptError as MixoptError
    from mixopt.estimate import Estimate as Estimate
    from mixopt.exporters.export import export as export
    from mixopt.merging.to_disk import merge_to_disk as merge_to_disk
    from mixopt.mixture import Mixture as Mixture
    from mixopt.optimization.design import design_runs as design_runs
    from mixopt.optimization.learning_curve import advise as advise
    from mixopt.optimization.loss_to_error import LossToError as LossToError
    from mixopt.optimization.outcome_constraint import OutcomeConstraint as OutcomeConstraint
    from mixopt.optimization.propose import propose as propose
    from mixopt.proposal import Proposal as Proposal
    from mixopt.report import plots as plots
    from mixopt.schedule import Phase as Phase
    from mixopt.schedule import Schedule as Schedule
    from mixopt.search_limits import Group as Group
    from mixopt.search_limits import Inequality as Inequality
    from mixopt.search_space import SearchSpace as SearchSpace
    from mixopt.study import Study as Study
    from mixopt.surrogates.effective_tokens import Repetition as Repetition
    from mixopt.surrogates.fit import fit as fit
    from mixopt.surrogates.surrogate import Surrogate as Surrogate
    from mixopt.tables.read_trials import read_trials as read_trials
    from mixopt.token_budget import Budget as Budget
    from mixopt.trial import Metric as Metric
    from mixopt.trial import Score as Score
    from mixopt.trial import Trial as Trial
    from mixopt.trials import Trials as Trials


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mixopt' has no attribute {name!r}")
    try:
        module = import_module(_PUBLIC[name])
    except ModuleNotFoundError as error:
        from mixopt.errors import explain_missing_extra

        raise explain_missing_extra(error) from None
    return getattr(module, name, module)  # `plots` is a module itself


def __dir__() -> list[str]:
    return list(__all__)
