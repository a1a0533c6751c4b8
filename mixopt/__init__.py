"""mixopt: the data mixture for a language model's next training run.

The public nouns and verbs, loaded on first use: `import mixopt` loads neither torch nor mlflow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Budget": "mixopt.mixture",
    "LossToError": "mixopt.optimization.loss_to_error",
    "Estimate": "mixopt.proposal",
    "Group": "mixopt.search_space",
    "OutcomeConstraint": "mixopt.optimization.outcome_constraint",
    "Inequality": "mixopt.search_space",
    "Metric": "mixopt.trials",
    "MixoptError": "mixopt.errors",
    "Mixture": "mixopt.mixture",
    "Phase": "mixopt.schedule",
    "Proposal": "mixopt.proposal",
    "Repetition": "mixopt.surrogates.repetition",
    "Schedule": "mixopt.schedule",
    "Score": "mixopt.trials",
    "SearchSpace": "mixopt.search_space",
    "Study": "mixopt.study",
    "Surrogate": "mixopt.surrogates.surrogate",
    "Trial": "mixopt.trials",
    "Trials": "mixopt.trials",
    "advise": "mixopt.optimization.learning_curve",
    "design_runs": "mixopt.optimization.design",
    "export": "mixopt.exporters.export",
    "fit": "mixopt.surrogates.fit",
    "plots": "mixopt.report.plots",
    "propose": "mixopt.optimization.optimize",
    "read_trials": "mixopt.tables.read_trials",
}

__all__ = [
    "Budget",
    "LossToError",
    "Estimate",
    "Group",
    "OutcomeConstraint",
    "Inequality",
    "Metric",
    "MixoptError",
    "Mixture",
    "Phase",
    "Proposal",
    "Repetition",
    "Schedule",
    "Score",
    "SearchSpace",
    "Study",
    "Surrogate",
    "Trial",
    "Trials",
    "__version__",
    "advise",
    "design_runs",
    "export",
    "fit",
    "plots",
    "propose",
    "read_trials",
]

if TYPE_CHECKING:
    from mixopt.errors import MixoptError
    from mixopt.exporters.export import export
    from mixopt.mixture import Budget, Mixture
    from mixopt.optimization.design import design_runs
    from mixopt.optimization.learning_curve import advise
    from mixopt.optimization.loss_to_error import LossToError
    from mixopt.optimization.optimize import propose
    from mixopt.optimization.outcome_constraint import OutcomeConstraint
    from mixopt.proposal import Estimate, Proposal
    from mixopt.report import plots
    from mixopt.schedule import Phase, Schedule
    from mixopt.search_space import Group, Inequality, SearchSpace
    from mixopt.study import Study
    from mixopt.surrogates.fit import fit
    from mixopt.surrogates.repetition import Repetition
    from mixopt.surrogates.surrogate import Surrogate
    from mixopt.tables.read_trials import read_trials
    from mixopt.trials import Metric, Score, Trial, Trials


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
