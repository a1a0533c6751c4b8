"""The section `search` of a study's config: how candidate mixtures are chosen and scored."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    ByteSize,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from mixopt.config.base import NaturalRatios
from mixopt.config.benchmarks import WHOLE_MODEL_CONFIGS, BenchmarkConfig
from mixopt.config.constraints import SearchSpaceConfig
from mixopt.trial import Kind, Normalisation

RESPONSE = 0.7
"""Default γ of the response map of merges; on average it ranks better than γ = 1 in
`studies/rank-fidelity`."""
ENSEMBLE_RESPONSE = 0.6
"""Default γ of the response map of ensembles (`studies/arena`)."""
PublishedMethod = Literal[
    "olmix",
    "op-mix",
    "mde-law",
    "merge-to-mix",
    "points",
    "d-optimal",
    "doremi",
    "odm",
    "scalebio",
    "individual-select",
    "projektor",
]
"""Methods of others in `mixopt.baselines`, which recommend one mixture."""
PUBLISHED: tuple[PublishedMethod, ...] = get_args(PublishedMethod)
TRAINS_NOTHING: tuple[PublishedMethod, ...] = (
    "op-mix",
    "merge-to-mix",
    "points",
    "individual-select",
)
"""Those that only combine experts."""
MOST_RUNS: dict[PublishedMethod, int] = {"d-optimal": 16, "doremi": 2, "odm": 1, "scalebio": 2}
"""Most training of those that cannot use more, in runs."""
READS_BENCHMARKS: tuple[PublishedMethod, ...] = ("scalebio",)
"""Those that train on the benchmarks' text too, of whose tokens a config does not tell the number."""
STARTS_ELSEWHERE: tuple[PublishedMethod, ...] = ("odm", "scalebio")
"""Those that train, and no run of natural."""
# one literal, so that a message about a wrong name lists all
SearchMethod = Literal["auto", "ensemble", "mergemix", "gradient", "regmix", PublishedMethod]
PROXIES: dict[SearchMethod, Kind] = {
    "ensemble": "ensembled", "mergemix": "merged", "gradient": "merged", "regmix": "trained",
    **dict.fromkeys(PUBLISHED, "ensembled"),
}  # fmt: skip
"""What each method scores candidates by."""
FEWEST_FIRST = 6
"""Smallest number of candidates that a surrogate can be fitted to."""


class SearchConfig(SearchSpaceConfig):
    """How candidate mixtures are chosen and scored, and the constraints on them."""

    rounds: Annotated[list[Annotated[int, Field(gt=0, le=100_000)]], Field(min_length=1)] = [
        16,
        8,
        8,
    ]
    """Number of candidates in each round; at least 6 in the first."""
    method: SearchMethod = "auto"
    """What candidates are scored by: probability ensembles of the experts (`ensemble`), merges
    (`mergemix`; `gradient` chooses the later rounds by gradients of the merges), or models trained on
    them (`regmix`). `auto` is `ensemble` where ensembles can score every benchmark that chooses, else
    `mergemix`; with `slopes`, `ensembles` or `item_share` below 1, which are settings of merges, it is
    `mergemix` too. A method of others (`olmix`, `op-mix`, `mde-law`, `merge-to-mix`, `points`,
    `d-optimal`, `doremi`, `odm`, `scalebio`, `individual-select`, `projektor`) recommends one mixture,
    which is then the only candidate."""
    method_runs: Annotated[float, Field(ge=0)] = 16
    """Training that a method of others may spend beside the experts, in runs of `training.tokens`.
    `d-optimal` uses at most 16, `doremi` 2, `odm` 1, and `scalebio` 2 and the benchmarks' text that it
    descends on; where that is more, it is refused before anything is trained."""
    lisa_layers: PositiveInt | None = None
    """Layers that `method: scalebio` trains at a time, drawn anew every 20 steps, to save memory; all if
    left out."""
    response: Annotated[float, Field(gt=0, le=1)] | None = None
    """γ of the response map: a mixture λ weighs experts by λ^γ. If left out 0.6 for ensembles, 0.7 for
    merges, and 1 (MergeMix as published) with `slopes`, `method: gradient` or a method of others. With
    `method: ensemble` it is that of the gain model too, whose prior was measured at 0.6."""
    slopes: bool = False
    """Measure the gradient of the losses at every candidate. It costs two to four passes and informs the
    surrogate as much as one candidate per expert."""
    ensembles: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Number of probability ensembles scored too, as a cheaper fidelity."""
    scoring: Literal["auto", "resident", "streamed"] = "auto"
    """Merge in memory (`resident`) or layer by layer (`streamed`); `auto` streams if the models do not
    fit."""
    memory: Annotated[ByteSize, Field(gt=0)] | None = None
    """Memory for streamed scoring, such as `4GiB`: layers, activations and pages of files, beside what
    the libraries take. Most of the free memory if left out."""
    item_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of each benchmark's items that later rounds score; control variates estimate the rest."""
    text_prior: bool = False
    """Let the surrogate expect, before any trial, that mixtures with text nearer to a benchmark's score
    better there (optimal transport, as in projektor; `mixopt[transport]`). Trials correct it. It helps a
    fit to a handful of runs."""
    natural: NaturalRatios | None = None
    """Natural mixture; proportional to the available tokens if left out."""
    normalise: Normalisation = "z"
    """Normalization of benchmarks: z-scores over the trials, percentile ranks (for the surrogate alone;
    the decision is in z-scores then), or raw."""
    aggregate: Literal["mean", "worst"] = "mean"
    """Utility: the weighted mean of the capabilities, or the worst one."""
    capability_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Weight of each capability in the mean; 1 if left out."""
    proposals: Annotated[int, Field(gt=0, le=1000)] = 1
    """Number of distinct mixtures to propose."""

    @model_serializer(mode="wrap")
    def _omit_unused_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # keys of artifacts hash this form, and those of studies without the field must not change
        plain: dict[str, Any] = handler(self)
        if plain.get("lisa_layers", 0) is None:
            del plain["lisa_layers"]
        if not plain.get("text_prior", True):
            del plain["text_prior"]
        return plain

    @model_validator(mode="after")
    def _settings_go_together(self) -> "SearchConfig":
        if self.lisa_layers is not None and self.method != "scalebio":
            raise ValueError("lisa_layers goes with method: scalebio; leave one of them out")
        if self.rounds[0] < FEWEST_FIRST:
            raise ValueError(
                f"rounds: the first has {self.rounds[0]} candidates and needs {FEWEST_FIRST}"
            )
        runs = SearchConfig.model_fields["method_runs"].default
        if self.method_runs != runs and self.method not in PUBLISHED:
            raise ValueError(
                f"method_runs goes with a method of others (olmix, ...), and method is {self.method}; "
                "leave it out, or give the study a budget"
            )
        slopes = self.slopes or self.method == "gradient"
        if self.method in ("ensemble", "regmix", *PUBLISHED) and (wanted := self._of_merges):
            raise ValueError(f"{wanted} goes with method: mergemix; leave one of them out")
        if slopes and self.response not in (None, 1):
            raise ValueError("response: slopes are measured at weights = ratios; set it to 1")
        if slopes and self.item_share < 1:
            raise ValueError("item_share: slopes are measured on all items; leave one of them out")
        return self

    @property
    def _of_merges(self) -> str | None:
        """A setting that only merges have, if one is made."""
        made = {
            "slopes": self.slopes,
            "ensembles": bool(self.ensembles),
            "item_share": self.item_share < 1,
        }
        return next((name for name, wanted in made.items() if wanted), None)

    def choose_method(self, benchmarks: Sequence[BenchmarkConfig]) -> SearchMethod:
        """Return the method, chosen by the benchmarks and the other settings where it is `auto`.

        Args:
            benchmarks: Of the study.
        """
        if self.method != "auto":
            return self.method
        return "mergemix" if self._of_merges or self._needs_merges(benchmarks) else "ensemble"

    def describe_method(self, benchmarks: Sequence[BenchmarkConfig]) -> str:
        """Return the method in words, with what chose it where it is `auto`.

        Args:
            benchmarks: Of the study.
        """
        method = self.choose_method(benchmarks)
        if self.method != "auto":
            return f"search.method: {method}"
        why = "ensembles can score every benchmark that chooses"
        if self._of_merges:
            why = f"{self._of_merges} is a setting of merges"
        elif name := self._needs_merges(benchmarks):
            why = f"benchmark {name!r} needs a whole model"
        return f"search.method: auto, here {method}: {why}"

    def describe_ranks(self, benchmarks: Sequence[BenchmarkConfig]) -> str | None:
        """Return a warning where ranks are asked for and the decision has none; None otherwise.

        Args:
            benchmarks: Of the study.
        """
        chosen_by = [each for each in benchmarks if each.role == "search"]
        # without a loss that ensembles score there is no decision
        if self.normalise != "rank" or all(isinstance(e, WHOLE_MODEL_CONFIGS) for e in chosen_by):
            return None
        return (
            "search.normalise: rank holds for the surrogate's proposals alone: the best ensemble and "
            "the decision, with all its gains, are in spreads (z), because mixtures that were not "
            "scored have no rank. Set normalise: z, or raw, to choose by one objective throughout."
        )

    @staticmethod
    def _needs_merges(benchmarks: Sequence[BenchmarkConfig]) -> str | None:
        """Return the name of a benchmark that chooses and ensembles cannot score; None without one."""
        chosen_by = (each for each in benchmarks if each.role == "search")
        return next(
            (each.name for each in chosen_by if isinstance(each, WHOLE_MODEL_CONFIGS)), None
        )

    def choose_response(self, method: SearchMethod) -> float:
        """Return γ of the response map, with its default.

        Args:
            method: As `choose_method` returns it.
        """
        if self.response is not None:
            return self.response
        if self.slopes or method == "gradient" or method in PUBLISHED:
            return 1.0
        return RESPONSE if method == "mergemix" else ENSEMBLE_RESPONSE
