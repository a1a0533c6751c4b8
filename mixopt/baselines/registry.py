"""The methods by the name that `search.method` gives them."""

from collections.abc import Callable

from mixopt.baselines.base import Method, OnlineTraining, Problem, Recommendation
from mixopt.baselines.d_optimal import DOptimal
from mixopt.baselines.doremi import DoReMi
from mixopt.baselines.individual_select import IndividualSelect
from mixopt.baselines.mde_law import MdeLaw
from mixopt.baselines.merge_to_mix import MergeToMix
from mixopt.baselines.odm import OnlineDataMixing
from mixopt.baselines.olmix import Olmix
from mixopt.baselines.op_mix import OpMix
from mixopt.baselines.points import Points
from mixopt.baselines.projektor import Projektor
from mixopt.baselines.scalebio import ScaleBio
from mixopt.errors import ConfigError, did_you_mean

METHODS: dict[str, Callable[[], Method]] = {
    "olmix": Olmix,
    "op-mix": OpMix,
    "mde-law": MdeLaw,
    "merge-to-mix": MergeToMix,
    "points": Points,
    "individual-select": IndividualSelect,
    "d-optimal": DOptimal,
    "doremi": DoReMi,
    "odm": OnlineDataMixing,
    "scalebio": ScaleBio,
    "projektor": Projektor,
}


def open_method(name: str) -> Method:
    """Return a method with its published settings.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in METHODS:
        raise ConfigError(f"There is no method {name!r}. {did_you_mean(name, METHODS)}")
    return METHODS[name]()


def recommend(name: str, problem: Problem, *, method: Method | None = None) -> Recommendation:
    """Run a method.

    Args:
        name: Its name.
        problem: What it is asked.
        method: The method with other settings than the published ones.

    Raises:
        ConfigError: The budget is below the method's least.
        UserError: The problem lacks what the method needs.
        RunError: Too little of what was trained can be used.
    """
    chosen, beside = method or open_method(name), 0
    if chosen.need == "online":
        beside = problem.count_validation_tokens(OnlineTraining(name, problem.run_tokens))
    require_budget(
        name, chosen, d=len(problem.space.domains),
        expert_tokens=problem.expert_tokens if chosen.need == "experts" else 0,
        run_tokens=problem.run_tokens, budget_tokens=problem.budget_tokens, validation_tokens=beside,
    )  # fmt: skip
    return chosen.recommend(problem)


def require_budget(
    name: str,
    method: Method,
    *,
    d: int,
    expert_tokens: int,
    run_tokens: int,
    budget_tokens: int,
    validation_tokens: int = 0,
) -> None:
    """Check that a budget is enough for a method.

    Args:
        name: Name of the method.
        method: The method.
        d: Number of domains.
        expert_tokens: Tokens of training that the experts cost.
        run_tokens: Length of a run.
        budget_tokens: Tokens of training that it may spend, experts included.
        validation_tokens: Tokens of benchmarks that it descends on beside text.

    Raises:
        ConfigError: It is below the method's least.
    """
    least = method.least_tokens(d, expert_tokens, run_tokens) + validation_tokens
    if budget_tokens < least:
        runs = -(-(least - (expert_tokens if method.need == "experts" else 0)) // run_tokens)
        of_benchmarks = ""
        if validation_tokens:
            of_benchmarks = f", {validation_tokens:,} of them the benchmarks' text,"
        raise ConfigError(
            f"Method {name!r} needs {least:,} tokens of training for {d} domains{of_benchmarks} and its "
            f"budget is {budget_tokens:,}; raise it to that or more (in a study search.method_runs: "
            f"{runs})."
        )
