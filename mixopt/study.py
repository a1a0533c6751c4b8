"""The study: the whole search from text to training config, readable from top to bottom.

The one place where the wings meet. Each verb (`train`, `search`, `propose`, `validate`, `export`,
`run`) can be called alone: what came before is found in the journal or done first.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from mixopt.errors import DivergedError, ExportError, RecipeError, RunError
from mixopt.exporters import check_export, export_phases, make_request
from mixopt.job import Job
from mixopt.learning import Learner
from mixopt.loading import choose_executor, give_experts, load_study
from mixopt.mixture import Mixture
from mixopt.proposal import Proposal
from mixopt.proposals.proposing import propose
from mixopt.proposals.surrogate import Surrogate
from mixopt.proposals.utility import (
    require_one_direction,
)
from mixopt.proposals.weights import WeightSpace
from mixopt.recipe import BuiltBase, StudyRecipe
from mixopt.recipe.public_sets import warn_of_public_set
from mixopt.report.data import UNITS, ReportData
from mixopt.report.page import write_report
from mixopt.reporting import (
    gather_facts,
    gather_points,
    gather_rounds,
    gather_trials,
    gather_what_if,
    rank_unseen,
    tell_costs,
)
from mixopt.runtime.executors.dispatching import Dispatcher
from mixopt.runtime.journal import Journal
from mixopt.runtime.observer import Observer, TrainedModel
from mixopt.schedule import Schedule
from mixopt.searching import Searcher
from mixopt.space import SearchSpace
from mixopt.telling import Teller, count_domains
from mixopt.trials import Trials
from mixopt.validating import Validator
from mixopt.validation import Validation
from mixopt.verifying import Verifier
from mixopt.working import Site, gather_crew, is_launched, is_silent

if TYPE_CHECKING:
    from mixopt.proxies.laboratory import Laboratory, Trained
    from mixopt.proxies.swarm import Swarm
    from mixopt.proxies.tasks import ModelTask, Task

log = logging.getLogger(__name__)

FEWEST_EXPERTS = 2


class Study:
    """One study: a recipe, a folder for what it produces, and who watches.

    Args:
        recipe: The resolved recipe.
        output: Folder of results; made if it is missing.
        cache: Folder of tokenized corpora, shared between studies.
        storage: URL that workers share with this process; a disk that all see if left out.
        device: `auto`, `cpu`, `cuda`, ...
        run_code: Whether programs that models write may be run, for benchmarks that test them.
        observers: Told of each step (`mixopt.runtime.tracking.MlflowTracker`, say).
    """

    def __init__(
        self,
        recipe: StudyRecipe,
        output: str | Path | None = None,
        *,
        cache: str | Path | None = None,
        storage: str | None = None,
        device: str = "auto",
        run_code: bool = False,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.recipe = recipe
        self.observers = () if is_silent() else tuple(observers)
        self.output = Path(output or Path("mixopt-runs") / recipe.name).absolute()
        self.cache = Path(cache or default_cache()).absolute()
        self.journal = Journal(self.output / "journal")
        self.device, self.run_code, self.storage = device, run_code, storage
        self.teller = Teller(recipe, self.output, self.observers)
        self._failures: dict[str, str] = {}
        self._corrected: Learner | None = None
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
        with self._watched():
            trials = self.search()
            proposals = self.propose(trials)
            validation = None
            if self.recipe.validation is not None:
                validation = self.validate(proposals[0], trials=trials)
                proposals = self.propose(trials)
            self.report(trials, proposals, validation)
            self.export(proposals[0])
            return proposals[0]

    def train(self) -> dict[str, "Trained"]:
        """The experts by name, trained or found; one that diverges is set aside and said."""
        with self._watched():
            return self._experts

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
        with self._watched():
            trials = self._searcher.no_trials
            for number, count in enumerate(self.recipe.search.rounds, start=1):
                fitted = partial(self._proxies_alone.fit, trials)
                trust = self._proxies_alone.trust(trials)
                trials = trials + self._searcher.score_round(number, count, trials, fitted, trust)
                self._tell_round(number, trials)
            self.teller.write("trials.csv", trials.to_frame().to_csv(index=False))
            return trials

    def propose(self, trials: Trials) -> list[Proposal]:
        """Proposals fitted to `trials`, best first, each verified by really merging and scoring it."""
        with self._watched():
            rng = np.random.default_rng([self.recipe.seed, 1_000_001])
            proposals = propose(
                self.fit(trials),
                self.space,
                q=self.recipe.search.proposals,
                rng=rng,
                compositions=self._weight_rows,
            )
            verifier = Verifier(
                self.recipe, self.laboratory, self._searcher, self._learner, self._failures
            )
            proposals = [verifier.verify(proposal, trials) for proposal in proposals]
            for number, proposal in enumerate(proposals, start=1):
                name = "proposal.json" if number == 1 else f"proposal-{number}.json"
                self.teller.write(name, proposal.to_json())
            self.teller.tell(lambda o: o.proposed(proposals))
            return proposals

    def validate(
        self, proposal: Proposal | None = None, *, trials: Trials | None = None
    ) -> Validation:
        """What real proxy runs, trained from the same base for an expert's tokens, say."""
        with self._watched():
            trials = self.search() if trials is None else trials
            proposal = proposal or self.propose(trials)[0]
            validator = Validator(self.recipe, self.laboratory, self.crew, self._searcher,
                                  self.teller, list(self._experts.values()))  # fmt: skip
            validation, runs = validator.validate(proposal, trials, self._proxies_alone)
            self._corrected = self._proxies_alone.hear(validation, runs)
            if self._learner.doubt is not None:
                self.teller.warn(self._learner.doubt)
            self.teller.tell(lambda o: o.validated(validation))
            return validation

    def export(self, plan: Proposal | Schedule) -> list[Path]:
        """The training configs that the recipe lists, written under `exports/`."""
        with self._watched():
            written = []
            for wanted in self.recipe.exports:
                out = self.output / "exports" / wanted.out
                written += export_phases(
                    plan, wanted.format, paths=wanted.paths, out=out,
                    tokens_per_document=wanted.tokens_per_document, **wanted.options,
                )  # fmt: skip
            if written:
                drift = make_request(plan, None, {}).drift
                self.teller.say(
                    f"Exports: {len(written)} files; rounding moves no ratio by more than {drift:.1e}."
                )
                self.teller.tell(lambda o: o.written(self.output / "exports"))
            return written

    def report(
        self, trials: Trials, proposals: Sequence[Proposal], validation: Validation | None = None
    ) -> Path:
        """The report: one HTML page that needs no network, and its figures as PNG."""
        with self._watched():
            path = write_report(self._report_data(trials, proposals, validation), self.output)
            self.teller.tell(lambda o: o.written(path))
            self.teller.tell(lambda o: o.written(self.output / "figures"))
            return path

    def fit(self, trials: Trials) -> Surrogate:
        """The surrogate of the recipe's utility, corrected by real runs where any were trained."""
        return self._learner.fit(trials)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Tells observers when the outermost verb begins and ends; then its workers go."""
        with self.teller.watched():
            try:
                yield
            finally:
                if self.teller.is_outermost:
                    self.let_workers_go()

    def let_workers_go(self) -> None:
        """Ends the workers; the next job gets new ones."""
        if "_hands" in self.__dict__:
            self._hands.close()

    # --- what the verbs stand on --------------------------------------------------------------

    @cached_property
    def laboratory(self) -> "Laboratory":
        """Corpora, base, experts and scores: the model wing."""
        if self.recipe.phases:
            raise RecipeError(
                "The study has phases, which are searched one by one; use `mixopt run`, or "
                "mixopt.run_phases(study)."
            )
        lab = self.site.open_laboratory(self.recipe)
        # what the user could have got wrong is found before anything is trained
        self.check_exports()
        self._space_of(lab)
        metrics = lab.scorer.metrics
        if self.recipe.search.normalise == "raw":
            require_one_direction([m for m in metrics if m.role == "search"])
        self.teller.tell(lambda o: o.domains_counted(count_domains(self.recipe, lab)))
        self._warn_of_benchmarks(lab)
        return lab

    @property
    def site(self) -> Site:
        """Where the work is done and kept."""
        return Site(self.output / "journal", self.cache, self.storage, self.device, self.run_code)

    @cached_property
    def _hands(self) -> Dispatcher:
        """Who does the work."""
        return gather_crew(self.site, self.recipe, self.laboratory)

    @cached_property
    def crew(self) -> Dispatcher:
        """Who does the work, once the base is there."""
        crew = self._hands
        if isinstance(self.recipe.base, BuiltBase):
            jobs = [Job("train_base", (), "the base", trains=True)]
            for _, error in crew.do([] if self.laboratory.has_base else jobs):
                if error is not None:
                    raise error
            base = self.laboratory.base
            assert base is not None
            self.teller.trained("base", "base", base, {})
        return crew

    def check_exports(self) -> None:
        """Raises `ExportError` where an export that the recipe asks for would fail for any proposal."""
        recipe = self.recipe
        tokens = {phase.name: phase.tokens for phase in recipe.phases}
        searches = [phase.search or recipe.search for phase in recipe.phases] or [recipe.search]
        never = {
            domain
            for domain in recipe.domains
            if all(s.frozen.get(domain, s.upper.get(domain, 1.0)) == 0 for s in searches)
        }
        measured = {e.domain: 1.0 for e in recipe.experts if e.text is not None}
        for wanted in recipe.exports:
            if ":" in wanted.format and not self.run_code:
                raise ExportError(
                    f"exports: format {wanted.format!r} runs Python that the recipe names; pass "
                    "--run-code if you trust it."
                )
            check_export(
                wanted.format,
                {domain: float(domain not in never) for domain in recipe.domains},
                wanted.paths,
                tokens=tokens or {"": recipe.target.tokens},
                tokens_per_document=measured | wanted.tokens_per_document,
                out=wanted.out,
                **wanted.options,
            )

    def _warn_of_benchmarks(self, lab: "Laboratory") -> None:
        """What makes a benchmark's score mean less than it seems."""
        from mixopt.proxies.overlap import tell_overlaps

        for benchmark in self.recipe.benchmarks:
            sentence = warn_of_public_set(benchmark)
            if sentence:
                self.teller.warn(sentence)
        for sentence in tell_overlaps(lab.measure_overlap()):
            self.teller.warn(sentence)

    @cached_property
    def space(self) -> SearchSpace:
        """The mixtures that may be proposed: the recipe's bounds and the repetition caps."""
        return self._space_of(self.laboratory)

    def _space_of(self, lab: "Laboratory") -> SearchSpace:
        caps = self.recipe.budget(lab.available_tokens).caps
        return self.recipe.search.space(tuple(self.recipe.domains), caps=caps, prior=lab.natural)

    @cached_property
    def weight_space(self) -> WeightSpace:
        """The weights of the finished experts whose ratios are in `space`."""
        weights = WeightSpace.of_rows(self.space, self._weight_rows)
        _ = weights.centre  # bounds that the experts cannot meet end the study here
        return weights

    @property
    def _weight_rows(self) -> dict[str, Mixture]:
        return {name: self.laboratory.compositions[name] for name in self._experts}

    @cached_property
    def _experts(self) -> dict[str, "Trained"]:
        trained: dict[str, Trained] = {}
        lab, crew = self.laboratory, self.crew
        names = list(lab.compositions)
        for name, folder in lab.given_experts.items():
            trained[name] = lab.train_expert(name)
            self.teller.say(f"Expert {name!r} is given: {folder}")
        jobs = [
            Job("train_expert", (name,), f"expert {name!r}", trains=True)
            for name in names
            if name not in trained
        ]
        # what is there is found without a worker
        made = [job for job in jobs if lab.has_expert(job.arguments[0])]
        lacking = [job for job in jobs if job not in made]
        done = chain(((job, None) for job in made), crew.do(lacking))
        for job, error in tqdm(done, desc="experts", unit="expert", total=len(jobs), leave=False):
            (name,) = job.arguments
            if error is not None:
                self._set_aside(name, error)
                continue
            trained[name] = lab.train_expert(name)
            self.teller.trained("expert", name, trained[name], lab.compositions[name])
        trained = {name: trained[name] for name in names if name in trained}
        if len(trained) < FEWEST_EXPERTS:
            raise DivergedError(
                f"{len(trained)} of {len(names)} experts were trained without diverging and at least "
                f"{FEWEST_EXPERTS} are needed; lower training.learning_rate and run again."
            )
        return trained

    def _set_aside(self, name: str, error: Exception) -> None:
        why = " ".join(str(error).split()) or type(error).__name__
        self._failures[name] = why
        self.teller.say(f"Expert {name!r} is set aside and no mixture weighs it: {why}")
        self.teller.tell(lambda o: o.model_trained(TrainedModel("expert", name, failure=why)))

    @cached_property
    def _swarm(self) -> "Swarm":
        experts = self._experts
        folders = [trained.folder for trained in experts.values()]
        swarm = self.laboratory.open_swarm(folders, list(experts), self.crew)
        swarm.lost = self.teller.warn
        for name, size in zip(experts, swarm.facts.step_sizes, strict=True):
            self.teller.say(
                f"Expert {name!r} stepped δ = {size:.1%} away from the base (sound below 10%)."
            )
        tasks: list[Task | ModelTask] = [*swarm.scorer.tasks, *swarm.scorer.model_tasks]
        for task in tasks:
            if task.truncated:
                self.teller.warn(
                    f"Benchmark {task.metric.name!r}: {task.truncated} items were longer than the "
                    "context and were cut from the left."
                )
        return swarm

    @cached_property
    def _searcher(self) -> Searcher:
        return Searcher(self._swarm, self.weight_space, self._weight_rows, self.recipe.domains,
                        self.recipe.search, self.recipe.seed)  # fmt: skip

    @cached_property
    def _proxies_alone(self) -> Learner:
        """Rounds of the search depend on nothing that is validated later."""
        return Learner(self.recipe, lambda trials: self._searcher.measure_reliability(trials))

    @property
    def _learner(self) -> Learner:
        """Who knows most."""
        return self._corrected or self._proxies_alone

    # --- search -------------------------------------------------------------------------------

    def _tell_round(self, number: int, trials: Trials) -> None:
        surrogate = self._proxies_alone.fit(trials)
        table = trials.where(kind=self.recipe.search.proxy)
        utilities = surrogate.seen_utilities(table)
        metrics = {
            "search/trials": float(len(table)),
            "search/best_utility": float(utilities.max()),
        }
        if number == 1:
            for name, found in self._proxies_alone.reliabilities(trials).items():
                metrics[f"reliability/{name}"] = found.tau
                if not found.tells:
                    self.teller.warn(found.sentence)
        for fitted in surrogate.metrics:
            metrics[f"surrogate/cv_rank/{fitted.metric.name}"] = fitted.rank_correlation
        self._ranks[number] = (len(table), rank_unseen(surrogate))
        self.teller.tell(lambda o: o.round_scored(number, trials, metrics))

    # --- report ---------------------------------------------------------------------------

    def _report_data(
        self, trials: Trials, proposals: Sequence[Proposal], validation: Validation | None
    ) -> ReportData:
        surrogate = self.fit(trials)
        if not np.isfinite(surrogate.cv_utilities).any():  # too few real runs to leave any out
            surrogate = self._proxies_alone.fit(trials)
        metrics = self._swarm.scorer.metrics
        base = self._swarm.score_base()
        losses = {"base": {m.name: base[m.name].score for m in metrics}}
        for index, name in enumerate(self.weight_space.experts):
            corner = np.eye(len(self.weight_space.experts))[index]
            results = self._swarm.score(corner.tolist())["merged"]
            losses[name] = {m.name: results[m.name].score for m in metrics}
        search = self.recipe.search
        return ReportData(
            name=self.recipe.name,
            measured_by=f"the {self._learner.proxy} proxy",
            proposals=tuple(proposals),
            metrics=metrics,
            what_if=gather_what_if(
                surrogate,
                self.weight_space,
                proposals,
                trust=self._learner.trust(trials),
                normalise=search.normalise,
            ),
            trials=gather_trials(surrogate, trials.where(kind=self._learner.proxy)),
            points=gather_points(surrogate),
            domains=count_domains(self.recipe, self.laboratory),
            expert_scores=losses,
            rounds=gather_rounds(
                self._proxies_alone.fit(trials), trials.where(kind=search.proxy), self._ranks
            ),
            validation=validation,
            warnings=tuple(self.teller.warnings),
            costs=tell_costs(
                [(e.outcome.tokens, e.outcome.flops) for e in self._experts.values()],
                trials.where(kind="merged"),
                validation,
            ),
            facts=gather_facts(
                seed=str(self.recipe.seed),
                device=f"{self.laboratory.device.name}, {self.laboratory.device.dtype}",
                base=self.recipe.base.kind,
                time=f"{self.teller.elapsed_s:,.0f} s in this command, up to this page",
            ),
            unit=UNITS[search.normalise],
            aggregate="worst capability" if search.aggregate == "worst" else "weighted mean",
        )


def default_cache() -> Path:
    """Where corpora are kept: $MIXOPT_CACHE, or mixopt under the user's cache folder."""
    given = os.environ.get("MIXOPT_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mixopt"
