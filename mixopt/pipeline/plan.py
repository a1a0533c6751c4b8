"""What a study would train, before anything is trained: tokens, FLOPs and estimated time."""

from dataclasses import dataclass
from itertools import groupby

from mixopt.callbacks.base import PlannedStage, Stage
from mixopt.config.cross_checks import NATURAL_SEEDS
from mixopt.config.training import BuiltBaseConfig
from mixopt.pipeline.confirmation import confirmation_of, trainable_lengths
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.online_runs import most_validation_tokens


@dataclass(frozen=True)
class PlannedTraining:
    """A group of trainings.

    Attributes:
        what: In words.
        tokens: Tokens in all.
        flops: 6 x all parameters x tokens, as trained runs count them.
        seconds: Estimated from what this study has trained before; None if nothing was.
    """

    what: str
    tokens: int
    flops: float
    seconds: float | None


def plan_study(context: StudyContext) -> list[PlannedTraining]:
    """Return what a study would train from the start, finished parts included.

    Args:
        context: The study, prepared.
    """
    parameters, rate = context.all_base_parameters, _seconds_per_token(context)
    return [
        PlannedTraining(
            what, tokens, 6.0 * parameters * tokens, None if rate is None else rate * tokens
        )
        for _, what, tokens in _list_trainings(context, trainable_lengths(context))
    ]


def plan_stages(context: StudyContext) -> list[PlannedStage]:
    """Return what each stage of a study trains and scores, finished parts included.

    Args:
        context: The study, prepared; none of its models needs to be built.
    """
    search, proxy = context.config.search_method, context.config.proxy
    rounds = sum(context.config.search.rounds)
    scored = rounds if proxy == "merged" else 0 if search == "regmix" else len(context.compositions)
    # whether the text is enough for the longest is not known yet
    trainings = _list_trainings(context, context.config.run_lengths)
    tokens: dict[Stage, int] = {
        stage: sum(each[2] for each in group)
        for stage, group in groupby(trainings, key=lambda each: each[0])
    }
    stages: list[Stage] = ["base", "experts", "search", "method", "validation", "budget"]
    planned = [
        PlannedStage(stage, tokens.get(stage, 0), scored if stage == "search" else 0)
        for stage in stages
    ]
    return [each for each in planned if each.trained_tokens or each.scored]


def _list_trainings(
    context: StudyContext, lengths: tuple[int, ...]
) -> list[tuple[Stage, str, int]]:
    """Return stage, description and tokens of each group of trainings, in the order of the stages.

    Args:
        context: The study.
        lengths: Of the budget's runs, increasing.
    """
    config = context.config
    groups: list[tuple[Stage, str, int]] = []
    if isinstance(config.base, BuiltBaseConfig):
        groups.append(("base", "base", config.base.training.tokens))
    unit = config.training.tokens
    experts = [name for name in context.compositions if name not in context.given_experts]
    expert_tokens = len(experts) * config.training.expert_length
    groups.append(("experts", f"{len(experts)} experts", expert_tokens))
    candidates = 0
    if config.search_method == "regmix":
        # the first round trains natural too, which is the first of a budget's
        candidates = (sum(config.search.rounds) + 1) * unit
        name = f"natural and {sum(config.search.rounds)} candidates of the search"
        groups.append(("search", name, candidates))
    if config.published_method is not None:
        method = config.published_method
        candidates = config.method_tokens + most_validation_tokens(context, method, unit)
        groups.append(("method", f"method {method}, at most", candidates))
    if config.validation is not None:
        mixtures, seeds = config.validation.mixtures, config.validation.seeds
        name = f"validation, {mixtures} mixtures x {seeds} seeds"
        groups.append(("validation", name, mixtures * seeds * unit))
    if config.budget is not None:
        left = config.budget_tokens - expert_tokens - candidates
        reserve, length = confirmation_of(config, lengths, left)
        trains_natural = config.search_method == "regmix" or config.method_trains_natural
        n_seeds = NATURAL_SEEDS - trains_natural
        seeds_of_natural = "one more seed" if n_seeds == 1 else f"{n_seeds} seeds"
        groups.append(("budget", f"natural, {seeds_of_natural}", n_seeds * unit))
        rest = left - n_seeds * unit - reserve
        longest = lengths[-1]
        name = f"candidates: at most {rest // unit} runs of {unit:,} tokens"
        # runs with one seed share natural's
        if longest > unit and (n_long := rest // longest - 1) > 0:
            name += f", or {n_long} of {longest:,} and one run of natural as long"
        groups.append(("budget", name, rest))
        seeds = config.budget.confirmation
        if reserve:
            each = f"{seeds} unused seed{'s' * (seeds > 1)} each of candidate and natural"
            name = f"confirmation: {each}, {length:,} tokens a run"
            groups.append(("budget", name, reserve))
        elif seeds:
            # half of what is left has to hold it
            least = expert_tokens + candidates + 2 * 2 * seeds * unit
            name = f"confirmation: does not fit; it needs a budget of {least:,} tokens"
            groups.append(("budget", name, 0))
    return groups


def _seconds_per_token(context: StudyContext) -> float | None:
    """Return the seconds that a token took in a training of this study; None before the first."""
    from mixopt.pipeline.training_runs import base_run, expert_run

    base = base_run(context)
    names = [name for name in context.compositions if name not in context.given_experts]
    runs = [expert_run(context, name) for name in names] if base is None else [base]
    for run in runs:
        record = context.store.record(run.artifact)
        if record is not None:
            # an expert reads other numbers of tokens than a run of its config
            return record.seconds / (run.plan.sequences * context.config.base.context)
    return None
