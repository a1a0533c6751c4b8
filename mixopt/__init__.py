"""mixopt: the data mixture for a language model's next training run.

The public nouns and verbs, loaded on first use: `import mixopt` loads neither torch nor mlflow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Budget": "mixopt.budget",
    "ErrorLaw": "mixopt.proposals.error_law",
    "Estimate": "mixopt.proposal",
    "Group": "mixopt.space",
    "Guard": "mixopt.proposals.guarding",
    "Inequality": "mixopt.space",
    "Metric": "mixopt.trials",
    "MixoptError": "mixopt.errors",
    "Mixture": "mixopt.mixture",
    "Phase": "mixopt.schedule",
    "Proposal": "mixopt.proposal",
    "Repetition": "mixopt.proposals.repetition",
    "Schedule": "mixopt.schedule",
    "Score": "mixopt.trials",
    "SearchSpace": "mixopt.space",
    "Study": "mixopt.study",
    "Surrogate": "mixopt.proposals.surrogate",
    "Trial": "mixopt.trials",
    "Trials": "mixopt.trials",
    "advise": "mixopt.proposals.advising",
    "design_runs": "mixopt.proposals.design",
    "export": "mixopt.exporters",
    "fit": "mixopt.proposals.fitting",
    "propose": "mixopt.proposals.proposing",
    "read_trials": "mixopt.tables",
    "run_phases": "mixopt.phasing",
}

__all__ = [
    "Budget",
    "ErrorLaw",
    "Estimate",
    "Group",
    "Guard",
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
    "propose",
    "read_trials",
    "run_phases",
]

if TYPE_CHECKING:
    from mixopt.budget import Budget
    from mixopt.errors import MixoptError
    from mixopt.exporters import export
    from mixopt.mixture import Mixture
    from mixopt.phasing import run_phases
    from mixopt.proposal import Estimate, Proposal
    from mixopt.proposals.advising import advise
    from mixopt.proposals.design import design_runs
    from mixopt.proposals.error_law import ErrorLaw
    from mixopt.proposals.fitting import fit
    from mixopt.proposals.guarding import Guard
    from mixopt.proposals.proposing import propose
    from mixopt.proposals.repetition import Repetition
    from mixopt.proposals.surrogate import Surrogate
    from mixopt.schedule import Phase, Schedule
    from mixopt.space import Group, Inequality, SearchSpace
    from mixopt.study import Study
    from mixopt.tables import read_trials
    from mixopt.trials import Metric, Score, Trial, Trials


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mixopt' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
