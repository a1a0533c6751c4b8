"""The study: the whole search from text to training config, readable from top to bottom.

The one place where the wings meet. Each verb (`train`, `search`, `propose`, `validate`, `export`,
`run`) can be called alone: what came before is found in the journal or done first.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.artifacts.store import ArtifactStore
from mixopt.callbacks.base import Callback
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.loader import choose_executor, give_experts, load_study
from mixopt.config.study import StudyConfig
from mixopt.errors import RunError
from mixopt.exporters.export import make_request
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.exports import Delivery
from mixopt.pipeline.propose import Recommender
from mixopt.pipeline.results import count_domains, to_yaml, write_result
from mixopt.pipeline.surrogate_policy import SurrogatePolicy
from mixopt.pipeline.validate import Validator
from mixopt.pipeline.worker import RunEnvironment, is_launched, is_silent
from mixopt.proposal import Proposal
from mixopt.report.build import study_report_data, utility_rank_correlation
from mixopt.report.page import write_report
from mixopt.schedule import Schedule
from mixopt.search_space import SearchSpace
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trials
from mixopt.validation import Validation

if TYPE_CHECKING:
    from mixopt.pipeline.laboratory import Laboratory
    from mixopt.training.training_run import TrainingResult


class Study:
    """One study: a recipe, a folder for what it produces, and who watches.

    Args:
        recipe: The resolved recipe.
        output: Folder of results; made if it is missing.
        cache: Folder of tokenized corpora, shared between studies.
        storage: URL that workers share with this process; a disk that all see if left out.
        device: `auto`, `cpu`, `cuda`, ...
        run_code: Whether programs that models write may be run, for benchmarks that test them.
        callbacks: Called at each step (`mixopt.callbacks.mlflow.callback.MlflowCallback`, say).
    """

    def __init__(
        self,
        recipe: StudyConfig,
        output: str | Path | None = None,
        *,
        cache: str | Path | None = None,
        storage: str | None = None,
        device: str = "auto",
        run_code: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.recipe = recipe
        self.output = Path(output or Path("mixopt-runs") / recipe.name).absolute()
        self.cache = Path(cache or default_cache()).absolute()
        self.journal = ArtifactStore(self.output / "journal")
        self.device, self.run_code, self.storage = device, run_code, storage
        self.callbacks = CallbackList(recipe, self.output, () if is_silent() else callbacks)
        self._corrected: SurrogatePolicy | None = None
        self._ranks: dict[int, tuple[int, float]] = {}

    @classmethod
    def load(
        cls,
        path: str | Path,
        output: str | Path | None = None,
        *,
        seed: int | None = None,
        experts: Mapping[str, Path] | None = None,
        executor: str | None = None,
        **rest: Any,
    ) -> "Study":
        """The study in the YAML at `path`, or one that mixopt ships (`quickstart`).

        With `experts`, folders by domain, those are taken instead of being trained; `executor` names
        another one than the YAML's.

        Raises:
            RecipeError: A YAML is missing or says something that it may not.
        """
        recipe = load_study(path)
        if seed is not None:
            recipe = recipe.model_copy(update={"seed": seed})
        if experts:
            recipe = give_experts(recipe, experts)
        if executor:
            recipe = choose_executor(recipe, executor)
        return cls(recipe, output, **rest)

    # --- the verbs ----------------------------------------------------------------------------

    def run(self) -> Proposal:
        """The best proposal, after the whole road: experts, search, validation, exports, report."""
        with self.running():
            trials = self.search()
            proposals = self.propose(trials)
            validation = None
            if self.recipe.validation is not None:
                validation = self.validate(proposals[0], trials=trials)
                proposals = self.propose(trials)
            self.report(trials, proposals, validation)
            self.export(proposals[0])
            return proposals[0]

    def train(self) -> dict[str, "TrainingResult"]:
        """The experts by name, trained or found; one that diverges is set aside and said."""
        with self.running():
            return self.foundation.experts

    def search(self) -> Trials:
        """The trials of every round, by both proxies.

        Raises:
            RunError: Several processes were launched, which train together and do nothing else.
        """
        if is_launched():
            raise RunError(
                "Several processes (torchrun, accelerate) train experts together and do nothing else; "
                "launch `mixopt train`, and run the rest as one process over the same folder."
            )
        with self.running():
            searcher, learner = self.foundation.searcher, self.foundation.learner
            trials = searcher.no_trials
            for number, count in enumerate(self.recipe.search.rounds, start=1):
                fitted, trust = partial(learner.fit, trials), learner.trust(trials)
                trials += searcher.score(searcher.choose(number, count, trials, fitted, trust))
                self._tell_round(number, trials)
            write_result(self.callbacks, "trials.csv", trials.to_frame().to_csv(index=False))
            return trials

    def propose(self, trials: Trials) -> list[Proposal]:
        """Proposals fitted to `trials`, best first, each verified by really merging and scoring it."""
        with self.running():
            proposals = Recommender(self.foundation, self.learner).recommend(trials)
            for number, proposal in enumerate(proposals, start=1):
                name = "proposal.json" if number == 1 else f"proposal-{number}.json"
                write_result(self.callbacks, name, proposal.to_json())
            self.callbacks.notify(lambda o: o.on_proposals(proposals))
            return proposals

    def validate(
        self, proposal: Proposal | None = None, *, trials: Trials | None = None
    ) -> Validation:
        """What real proxy runs, trained from the same base for an expert's tokens, say."""
        with self.running():
            trials = self.search() if trials is None else trials
            proposal = proposal or self.propose(trials)[0]
            alone = self.foundation.learner
            validator = Validator.of(self.foundation)
            validation, runs = validator.validate(proposal, trials, alone)
            self._corrected = alone.hear(validation, runs)
            if self.learner.doubt is not None:
                self.callbacks.warning(self.learner.doubt)
            self.callbacks.notify(lambda o: o.on_validation(validation))
            return validation

    def export(self, plan: Proposal | Schedule) -> list[Path]:
        """The training configs that the recipe lists, written under `exports/`."""
        with self.running():
            written = []
            for wanted in self.recipe.exports:
                written += Delivery(wanted, plan).deliver(self.journal, self.output / "exports")
            if written:
                drift = make_request(plan, None, {}).drift
                self.callbacks.message(
                    f"Exports: {len(written)} files; rounding moves no ratio by more than {drift:.1e}."
                )
                self.callbacks.notify(lambda o: o.on_file_written(self.output / "exports"))
            return written

    def report(
        self, trials: Trials, proposals: Sequence[Proposal], validation: Validation | None = None
    ) -> Path:
        """The report: one HTML page that needs no network, and its figures as PNG."""
        with self.running():
            ground, learner = self.foundation, self.learner
            data = study_report_data(
                self.recipe, trials, proposals, validation,
                surrogate=self.fit(trials),
                proxy_surrogate=ground.learner.fit(trials),
                weights=ground.weight_space,
                proxy=learner.proxy,
                trust=learner.trust(trials),
                real_runs=learner.runs,
                round_ranks=self._ranks,
                domains=count_domains(self.recipe, self.laboratory),
                expert_scores=self.score_experts(),
                expert_costs=[(e.outcome.tokens, e.outcome.flops) for e in ground.experts.values()],
                warnings=self.callbacks.warnings,
                device=f"{self.laboratory.device.name}, {self.laboratory.device.dtype}",
                elapsed_s=self.callbacks.elapsed_s,
            )  # fmt: skip
            path = write_report(data, self.output)
            self.callbacks.notify(lambda o: o.on_file_written(path))
            self.callbacks.notify(lambda o: o.on_file_written(self.output / "figures"))
            return path

    def fit(self, trials: Trials) -> Surrogate:
        """The surrogate of the recipe's utility, corrected by real runs where any were trained."""
        return self.learner.fit(trials)

    def score_experts(self) -> dict[str, dict[str, float]]:
        """Scores by metric of each expert alone, by name, and of the `base`."""
        with self.running():
            swarm = self.foundation.swarm
            results = {"base": swarm.score_base()}
            for name, corner in zip(swarm.names, np.eye(swarm.k).tolist(), strict=True):
                results[name] = swarm.score(corner)["merged"]
            return {
                name: {metric.name: row[metric.name].score for metric in swarm.scorer.metrics}
                for name, row in results.items()
            }

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call `on_study_start` and `on_study_end` around the outermost command; end its workers."""
        with self.callbacks.running():
            try:
                if self.callbacks.is_outermost:
                    write_result(self.callbacks, "recipe.yaml", to_yaml(self.recipe))
                yield
            finally:
                if self.callbacks.is_outermost and "foundation" in self.__dict__:
                    self.foundation.let_workers_go()

    # --- what the verbs stand on --------------------------------------------------------------

    @property
    def site(self) -> RunEnvironment:
        """Where the work is done and kept."""
        return RunEnvironment(
            self.output / "journal", self.cache, self.storage, self.device, self.run_code
        )

    @cached_property
    def foundation(self) -> StudyContext:
        """Laboratory, crew, experts, swarm, searcher: each made when it is first asked for."""
        return StudyContext(self.recipe, self.site, self.callbacks)

    @property
    def laboratory(self) -> "Laboratory":
        """Corpora, base, experts and scores: the model wing."""
        return self.foundation.laboratory

    @property
    def space(self) -> SearchSpace:
        """The mixtures that may be proposed: the recipe's bounds and the repetition caps."""
        return self.foundation.space

    @property
    def learner(self) -> SurrogatePolicy:
        """Who knows most: of the proxies alone, or of real runs too where any were trained."""
        return self._corrected or self.foundation.learner

    # --- search -------------------------------------------------------------------------------

    def _tell_round(self, number: int, trials: Trials) -> None:
        surrogate = self.foundation.learner.fit(trials)
        table = trials.where(kind=self.recipe.search.proxy)
        utilities = surrogate.seen_utilities(table)
        metrics = {
            "search/trials": float(len(table)),
            "search/best_utility": float(utilities.max()),
        }
        if number == 1:
            for name, found in self.foundation.learner.reliabilities(trials).items():
                metrics[f"reliability/{name}"] = found.tau
                if not found.tells:
                    self.callbacks.warning(found.sentence)
        for fitted in surrogate.metrics:
            metrics[f"surrogate/cv_rank/{fitted.metric.name}"] = fitted.rank_correlation
        self._ranks[number] = (len(table), utility_rank_correlation(surrogate))
        self.callbacks.notify(lambda o: o.on_round_scored(number, trials, metrics))


def default_cache() -> Path:
    """Where corpora are kept: $MIXOPT_CACHE, or mixopt under the user's cache folder."""
    given = os.environ.get("MIXOPT_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mixopt"
