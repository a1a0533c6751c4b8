"""Checks of a whole study that involve several of its fields."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.config.base import require_mixture
from mixopt.config.benchmarks import WHOLE_MODEL_CONFIGS, BitsPerByteConfig
from mixopt.config.method_checks import check_published, check_regmix, check_text_prior
from mixopt.config.text import FilesTextConfig, HubTextConfig, TextConfig, TokensTextConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.errors import did_you_mean
from mixopt.io.run_folders import find_model_folder
from mixopt.mixture import group_names, members_of

if TYPE_CHECKING:
    from mixopt.config.study import StudyConfig

MAX_FILE_NAME = 200
"""Characters of an exported file's name: disks take 255 bytes, and its artifact has a hash."""
NATURAL_SEEDS = 2
"""Seeds of the natural mixture that a budget begins with: one tells nothing about the noise."""


def check_study(study: "StudyConfig", *, experts_follow: bool = False) -> None:
    """Check that the parts of a study go together.

    Args:
        study: With all of its experts and benchmarks.
        experts_follow: Whether it will be checked again with experts that were trained elsewhere.

    Raises:
        ValueError: They do not; the message names the first conflict and its remedy.
    """
    _require_unique("exports: export file", [export.out for export in study.exports])
    _require_unique("experts: domain", list(study.domains))
    _require_unique("benchmarks: benchmark", [benchmark.name for benchmark in study.benchmarks])
    for check in (
        _check_text,
        _check_buckets,
        _check_limits,
        _check_checkpoints,
        _check_compositions,
        *_PHASE_CHECKS,
        _check_roles,
        _check_phases,
        _check_budget,
    ):
        check(study)
    if not experts_follow:
        _check_expert_length(study)


def _require_unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is named twice; give each a name of its own")


def _check_text(study: "StudyConfig") -> None:
    for expert in study.experts:
        if expert.text is None and expert.checkpoint is None:
            raise ValueError(f"expert {expert.domain!r} has neither text nor checkpoint; add one")
        if isinstance(expert.text, TokensTextConfig) and isinstance(study.base, BuiltBaseConfig):
            raise ValueError(
                f"expert {expert.domain!r} has tokens, and the base is built here with a tokenizer of "
                "its own; give a pretrained base, or the text"
            )
        split = expert.bucket.split if expert.bucket else None
        needs_base = split is not None and split.by == "perplexity" and split.reference is None
        if needs_base and isinstance(study.base, BuiltBaseConfig):
            raise ValueError(
                f"expert {expert.domain!r}: split by perplexity needs a model, and the base is built "
                "here from the same text; give split.reference, a folder or hub id"
            )
        for benchmark in study.benchmarks:
            if not isinstance(benchmark, BitsPerByteConfig) or expert.text is None:
                continue
            sides = expert.text.part, benchmark.text.part
            same_split = _split_of(expert.text) == _split_of(benchmark.text)
            apart = _read_other_records(expert.text, benchmark.text)
            if (
                not apart
                and _documents_of(benchmark.text) == _documents_of(expert.text)
                and (sides != ("train", "heldout") or not same_split)
            ):
                raise ValueError(
                    f"benchmark {benchmark.name!r} reads the text that expert {expert.domain!r} is "
                    "trained on; give the expert part: train and the benchmark part: heldout, "
                    "with the same heldout_share and group, or without a group the same field"
                )


def _check_buckets(study: "StudyConfig") -> None:
    groups = {expert.bucket.group for expert in study.experts if expert.bucket is not None}
    for expert in study.experts:
        if expert.bucket is None and expert.domain in groups:
            raise ValueError(
                f"expert {expert.domain!r} has the name of a text that is split; rename one of them"
            )


def _check_limits(study: "StudyConfig") -> None:
    for benchmark in study.benchmarks:
        limit = getattr(getattr(benchmark, "text", None), "tokens", None)
        if isinstance(limit, int):
            raise ValueError(
                f"benchmark {benchmark.name!r}: text.tokens limits training text; set max_items instead"
            )


def _documents_of(text: TextConfig) -> tuple[object, ...]:
    if isinstance(text, FilesTextConfig):
        return ("files", *sorted(text.paths))
    if isinstance(text, HubTextConfig):
        return ("huggingface", text.path, text.name, text.split, text.revision)
    if isinstance(text, TokensTextConfig):
        return ("tokens", *sorted(text.paths))
    return ("machine", text.name, text.seed)


def _read_other_records(text: TextConfig, other: TextConfig) -> bool:
    """Return whether conditions of two texts allow other values of a field, so that none is in both."""
    first, second = (getattr(each, "where", None) or {} for each in (text, other))
    for field in first.keys() & second.keys():
        allowed, others = (
            {str(v) for v in (value if isinstance(value, list) else [value])}
            for value in (first[field], second[field])
        )
        if allowed.isdisjoint(others):
            return True
    return False


def _split_of(text: TextConfig) -> tuple[object, ...]:
    group, field = getattr(text, "group", None), getattr(text, "field", None)
    # without a group a document's own text is its group, and another field is another text
    fields = [field] if isinstance(field, str) else field
    return text.heldout_share, group, fields if group is None else None


def _check_checkpoints(study: "StudyConfig") -> None:
    given = [expert.domain for expert in study.experts if expert.checkpoint is not None]
    if given and isinstance(study.base, BuiltBaseConfig):
        raise ValueError(
            f"expert {given[0]!r} has a checkpoint, and the base is built here; give the base that "
            "it was trained from (kind: pretrained)"
        )
    if given and study.training.compositions is not None:
        raise ValueError(
            f"expert {given[0]!r} has a checkpoint, and training.compositions names experts of "
            "its own; leave one of them out"
        )
    named: dict[Path, str] = {}
    for expert in study.experts:
        if expert.checkpoint is not None:
            # a run's folder stands for its last checkpoint
            folder = find_model_folder(Path(expert.checkpoint)).resolve()
            if folder in named:
                raise ValueError(
                    f"experts {named[folder]!r} and {expert.domain!r} have the same checkpoint, "
                    f"{folder}; give each its own"
                )
            named[folder] = expert.domain


def _check_compositions(study: "StudyConfig") -> None:
    named = study.training.compositions
    if named is not None and len(named) < 2:
        raise ValueError(
            f"training.compositions names {len(named)} experts, and a search weighs two or more; add "
            "one, or leave it out for an expert of each domain"
        )


def _check_expert_length(study: "StudyConfig") -> None:
    training = study.training
    length, warmup = training.expert_length, training.warmup_share * training.tokens
    if study.gives_all_experts:
        return
    if length > training.tokens:
        raise ValueError(
            f"training.expert_tokens: {length:,} is more than the {training.tokens:,} tokens of a run; "
            "lower it, raise training.tokens, or give every expert its checkpoint"
        )
    # experts have the warm-up of runs: the first part of a run is a short run
    if length < warmup:
        raise ValueError(
            f"training.expert_tokens: {length:,} ends within the warm-up of {round(warmup):,} tokens, "
            f"which is warmup_share: {training.warmup_share:g} of training.tokens, and no expert would "
            "reach the learning rate; raise expert_tokens or lower warmup_share"
        )


def _check_names(study: "StudyConfig") -> None:
    domains, named = study.domains, _named_domains(study)
    groups = group_names(domains)
    for where, names in named:
        # a bound on a group is one on the sum of its domains
        known = (*domains, *groups) if where in _BOUNDS else domains
        for name in names:
            if name not in known:
                if name in groups:
                    raise ValueError(
                        f"{where}: {name!r} is a group; name domains of it "
                        f"({', '.join(members_of(name, domains))})"
                    )
                raise ValueError(f"{where}: unknown domain {name!r}. {did_you_mean(name, known)}")
    capabilities = {each.capability for each in study.benchmarks if each.role == "search"}
    weights = study.search.capability_weights
    for name in weights:
        if name in capabilities:
            continue
        if any(benchmark.capability == name for benchmark in study.benchmarks):
            raise ValueError(
                f"search.capability_weights: all benchmarks of {name!r} have role holdout, so it has no "
                "part in the choice; give one of them role search, or leave the weight out"
            )
        close = did_you_mean(name, capabilities)
        raise ValueError(f"search.capability_weights: unknown capability {name!r}. {close}")
    if weights and study.search.aggregate == "worst":
        raise ValueError(
            "search.capability_weights count for the mean, and search.aggregate is worst; leave one "
            "of them out"
        )
    if weights and not any(weights.get(name, 1.0) for name in capabilities):
        raise ValueError("search.capability_weights: every capability has weight 0; raise one")
    for where, ratios in named:
        if where.startswith(("search.natural", "training.", "base.")) and ratios:
            require_mixture(where, ratios)


_BOUNDS = ("search.lower", "search.upper", "search.frozen")


def _named_domains(study: "StudyConfig") -> list[tuple[str, Mapping[str, float]]]:
    named: list[tuple[str, Mapping[str, float]]] = [
        (f"search.{field}", getattr(study.search, field) or {})
        for field in ("lower", "upper", "frozen", "natural")
    ]
    named.append(("training.anchor", study.training.anchor or {}))
    if isinstance(study.base, BuiltBaseConfig):
        named.append(("base.ratios", study.base.ratios or {}))
    for expert, composition in (study.training.compositions or {}).items():
        named.append((f"training.compositions.{expert}", composition))
    for benchmark in study.benchmarks:
        if benchmark.own_domain:
            named.append((f"benchmark {benchmark.name}", {benchmark.own_domain: 1}))
    return named


def _check_space(study: "StudyConfig") -> None:
    try:
        # the natural mixture, which max_kl refers to, is known only after the text is measured
        study.search.model_copy(update={"max_kl": None}).space(tuple(study.domains))
    except ValueError as error:
        raise ValueError(f"search: {error}") from None


def _check_kinds(study: "StudyConfig") -> None:
    search = study.search
    for benchmark in study.benchmarks:
        if not isinstance(benchmark, WHOLE_MODEL_CONFIGS):
            continue
        for what, wanted in (
            ("search.method: ensemble", search.method == "ensemble" and benchmark.role == "search"),
            ("search.method: regmix", search.method == "regmix" and benchmark.role == "search"),
            ("search.method: gradient", search.method == "gradient"),
            (
                f"search.method: {search.method}",
                study.published_method is not None and benchmark.role == "search",
            ),
            ("search.slopes", search.slopes),
            ("search.scoring: streamed", search.scoring == "streamed"),
        ):
            if wanted:
                raise ValueError(
                    f"benchmark {benchmark.name!r} ({benchmark.kind}) needs a whole merged model and "
                    f"does not go with {what}; leave one of them out"
                )


def _check_target(study: "StudyConfig") -> None:
    if study.target.tokens < study.training.tokens:
        raise ValueError(
            f"target.tokens is {study.target.tokens:,} and training.tokens {study.training.tokens:,}: "
            "experts and runs would be longer than the run that they stand for; lower training.tokens"
        )


def _check_roles(study: "StudyConfig") -> None:
    roles = {benchmark.name: benchmark.role for benchmark in study.benchmarks}
    if "search" not in roles.values():
        raise ValueError("benchmarks: all have role holdout; at least one must have role search")
    for name in (study.validation and study.validation.result) or ():
        if name not in roles:
            close = did_you_mean(name, roles)
            raise ValueError(f"validation.result: unknown benchmark {name!r}. {close}")
        if roles[name] == "search":
            raise ValueError(
                f"validation.result: benchmark {name!r} has role search, so it chooses the mixture and "
                "its score is no result; give it role holdout, or report another"
            )


def _check_budget(study: "StudyConfig") -> None:
    if study.budget is None:
        return
    if study.phases:
        raise ValueError(
            "budget: the study has phases, which are searched one by one; leave it out, or run a study "
            "with a budget for each phase"
        )
    for expert in study.experts:
        if expert.text is None:
            raise ValueError(
                f"budget: expert {expert.domain!r} has no text, and runs read every domain; add its text"
            )
    if too_small := describe_small_budget(study):
        raise ValueError(too_small)
    for benchmark in study.benchmarks:
        if benchmark.role == "search" and isinstance(benchmark, WHOLE_MODEL_CONFIGS):
            raise ValueError(
                f"budget: benchmark {benchmark.name!r} ({benchmark.kind}) chooses and ensembles cannot "
                "score it; give it role holdout, or use `validation` instead of `budget`"
            )


def describe_small_budget(study: "StudyConfig", validation_tokens: int = 0) -> str | None:
    """Return why a study's budget is too small, with the least that works; None where it is enough.

    Args:
        study: With a budget.
        validation_tokens: Text of benchmarks that a method of others descends on, which the config alone
            does not tell.
    """
    trained = sum(expert.checkpoint is None for expert in study.experts)
    if study.training.compositions is not None:
        trained = len(study.training.compositions)
    candidates = sum(study.search.rounds) if study.search_method == "regmix" else 0
    least = trained * study.training.expert_length
    seeds = NATURAL_SEEDS - study.method_trains_natural
    least += (candidates + seeds + 1) * study.training.tokens + study.method_tokens
    least += validation_tokens
    if study.budget_tokens >= least:
        return None
    what = f"{trained} experts, {candidates} candidates" if candidates else f"{trained} experts"
    if runs := study.method_runs:
        what += f", {'1 run' if runs == 1 else f'{runs:g} runs'} of {study.published_method}"
    if validation_tokens:
        what += f", {validation_tokens:,} tokens of the benchmarks' text that it reads"
    return (
        f"budget: {study.budget_tokens:,} tokens; {what}, natural with "
        f"{'one more seed' if seeds == 1 else f'{seeds} seeds'} and one candidate need {least:,}; "
        "raise it to that or more"
    )


_PHASE_CHECKS = (
    _check_names,
    _check_space,
    _check_kinds,
    _check_target,
    check_regmix,
    check_published,
    check_text_prior,
)
"""Checks of a study and of each of its phases, which may have a search of their own."""


def _check_phases(study: "StudyConfig") -> None:
    if not study.phases:
        for wanted in study.exports:
            if "{phase}" in wanted.out:
                raise ValueError(f"exports: {wanted.out!r} asks for phases, and the study has none")
        return
    _require_unique("phase", [phase.name for phase in study.phases])
    longest = max((phase.name for phase in study.phases), key=len)
    for wanted in study.exports:
        if len(wanted.out.replace("{phase}", longest)) > MAX_FILE_NAME:
            raise ValueError(
                f"exports: {wanted.out!r} has more than {MAX_FILE_NAME} characters with the name of a "
                "phase; shorten it"
            )
    total = sum(phase.tokens for phase in study.phases)
    if total != study.target.tokens:
        raise ValueError(
            f"phases read {total:,} tokens and target.tokens is {study.target.tokens:,}; change one"
        )
    for phase in study.phases:
        own = study.for_phase(phase, phase.base or study.base, {})
        for check in _PHASE_CHECKS:
            try:
                check(own)
            except ValueError as error:
                raise ValueError(f"phase {phase.name!r}: {error}") from None
    given = [expert.domain for expert in study.experts if expert.checkpoint is not None]
    if given and len(study.phases) > 1:
        raise ValueError(
            f"expert {given[0]!r} has a checkpoint, and each phase starts from another base; run a "
            "study for each phase"
        )
