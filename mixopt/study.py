"""A study, from text to training config: the verbs, top to bottom.

Each verb (`train`, `search`, `validate`, `spend`, `propose`, `report`, `export`, `run`) can be called
alone: what comes before is read from the artifact store or built first.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.baselines.base import Recommendation
from mixopt.callbacks.base import Callback
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.loader import (
    choose_executor,
    give_experts,
    load_study,
    set_budget,
    set_seed,
)
from mixopt.config.study import StudyConfig
from mixopt.data.bucket_files import BucketFile, write_buckets
from mixopt.errors import (
    ConfigError,
    RunError,
    StorageError,
    UnreachableError,
    one_line,
    require_extra,
    require_type,
)
from mixopt.exporters.export import make_request
from mixopt.io.content_hash import user_cache
from mixopt.io.interrupts import acknowledge_stop
from mixopt.optimization.validation import Validation
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.decide import list_observations
from mixopt.pipeline.environment import RunEnvironment, is_launched, is_silent
from mixopt.pipeline.experts import train_experts
from mixopt.pipeline.exports import with_known_paths, write_export
from mixopt.pipeline.gains import Observation, metrics_that_choose, tabulate
from mixopt.pipeline.method_search import FILE as RECOMMENDATION_FILE
from mixopt.pipeline.method_search import MethodResult, describe_recommendation, run_method
from mixopt.pipeline.milestones import (
    report_expert_scores,
    report_plan,
    report_round,
)
from mixopt.pipeline.objective import open_policy, require_objective
from mixopt.pipeline.phase_status import phases_status
from mixopt.pipeline.phases import run_phases
from mixopt.pipeline.plan import PlannedTraining, plan_study
from mixopt.pipeline.preview import Preview, preview_study
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.results import count_domains, remove_result, to_json, to_yaml, write_result
from mixopt.pipeline.search import CandidateSearch, open_search
from mixopt.pipeline.sections import require_budget, require_validation
from mixopt.pipeline.status import study_status
from mixopt.pipeline.status_rows import StatusRow
from mixopt.pipeline.study_runs import StudyRuns
from mixopt.pipeline.trained_runs import list_trained_runs
from mixopt.proposal import Proposal
from mixopt.report.build import study_report_data
from mixopt.report.page import write_report
from mixopt.schedule import Schedule
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.training.training_run import TrainingResult


class Study:
    """A search for the data mixture of one target run.

    Args:
        config: The resolved config.
        output: Folder of results, created if it is missing; `mixopt-runs/NAME` if left out.
        cache: Folder of tokenized corpora, shared between studies; $MIXOPT_CACHE, or `mixopt` in the
            user's cache folder, if left out.
        storage: URL that workers share with this process; left out, all workers see this disk.
        device: `auto`, `cpu`, `cuda`, ...
        run_code: Whether to run code that others wrote: programs of models (`match: tests`), tasks of
            the harness from an `include_path`, and export formats named `package.module:function`.
        callbacks: Called at each step (`mixopt.callbacks.mlflow.callback.MlflowCallback`, say).

    Raises:
        ArgumentTypeError: `config` is no config; `load` reads the one in a file.
    """

    def __init__(
        self,
        config: StudyConfig,
        output: str | Path | None = None,
        *,
        cache: str | Path | None = None,
        storage: str | None = None,
        device: str = "auto",
        run_code: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        require_type("config", config, StudyConfig, "read a study with mixopt.Study.load(path)")
        self.config = config
        self.output = Path(output or Path("mixopt-runs") / config.name).absolute()
        store = self.output / "artifacts"
        cache = Path(cache or user_cache()).absolute()
        self.environment = RunEnvironment(store, cache, storage or None, device, run_code)
        self.callbacks = CallbackList(config, self.output, () if is_silent() else callbacks)
        self._is_prepared = False
        self._search: CandidateSearch | None = None
        self._policy: SurrogatePolicy | None = None
        self._runs: StudyRuns | None = None
        self._method: MethodResult | None = None
        self._round_ranks: dict[int, tuple[int, float]] = {}

    @classmethod
    def load(
        cls,
        path: str | Path,
        output: str | Path | None = None,
        *,
        seed: int | None = None,
        experts: Mapping[str, str | Path] | None = None,
        executor: str | None = None,
        budget_tokens: int | None = None,
        **options: Any,
    ) -> "Study":
        """Return the study in a YAML file, or one that mixopt ships.

        Args:
            path: File, or a name such as `quickstart`.
            output: Folder of results.
            seed: Replaces the file's seed.
            experts: Folders of trained experts by domain, used instead of training them.
            executor: Replaces the file's executor: `local`, `processes`, `ray` or `slurm`.
            budget_tokens: Replaces the file's budget.
            options: Further arguments of `Study`.

        Raises:
            ConfigError: A YAML file is missing or invalid.
            UserError: `seed` is no whole number of at least 0.
            MissingExtraError: `mixopt[train]` is not installed.
        """
        require_extra("train")
        config = load_study(path, experts_follow=bool(experts))
        if seed is not None:
            config = set_seed(config, seed)
        if experts:
            config = give_experts(config, experts)
        if executor:
            config = choose_executor(config, executor)
        if budget_tokens is not None:
            config = set_budget(config, budget_tokens)
        return cls(config, output, **options)

    # --- verbs --------------------------------------------------------------------------------

    def run(self) -> Proposal | Schedule:
        """Run every stage: experts, search, validation, the budget's runs, proposals, report, exports.

        Returns:
            The best proposal; the schedule of proposals where the study has phases.
        """
        if self.config.phases:
            return run_phases(self)
        with self.running():
            trials = self.search()
            proposals, validation = self.answer(trials)
            self.report(trials, proposals, validation)
            self.export(proposals[0])
            return proposals[0]

    def train(self) -> dict[str, "TrainingResult"]:
        """Train the base and the experts that the store lacks.

        Returns:
            The experts by name; one that diverged is set aside with a message.

        Raises:
            DivergedError: Fewer than two experts are left.
            RunError: Several processes were launched, and an executor starts workers of its own.
        """
        executor = self.config.executor.kind
        if is_launched() and executor != "local":
            raise RunError(
                "Several processes (torchrun, accelerate) train experts together, and executor: "
                f"{executor} gives each expert to a worker of its own; launch one process, or pass "
                "--executor local."
            )
        with self.running():
            self.prepare()
            report_plan(self.context)
            return train_experts(self.context).results

    def search(self) -> Trials:
        """Score the candidates of every round.

        Returns:
            The trials of all rounds. By default they are ensembles; with `search.method: mergemix` or
            `gradient` merges (and `search.ensembles` ensembles), with `regmix` trained models.

        Raises:
            RunError: Several processes were launched; they can only train.
        """
        if is_launched():
            raise RunError(
                "Several processes (torchrun, accelerate) train experts together and do nothing else; "
                "launch `mixopt train`, and run the rest as one process over the same folder."
            )
        with self.running():
            search = self.open_search()
            self.callbacks.begin("search")
            policy = self.open_policy(with_runs=False)
            report_expert_scores(self.context, search)
            trials = search.no_trials
            for number, count in enumerate(self.config.search.rounds, start=1):
                fitted, trust = partial(policy.fit, trials), policy.trust(trials)
                trials += search.score(search.choose(number, count, trials, fitted, trust))
                # before a fit that may find nothing to learn
                write_result(self.callbacks, "trials.csv", trials.to_frame().to_csv(index=False))
                self._round_ranks[number] = report_round(self.context, policy, number, trials)
            self.recommend()
            return trials

    def recommend(self) -> Recommendation | None:
        """Run the method of others that `search.method` names.

        What it recommends is the only candidate of `propose`.

        Returns:
            Its mixture, cost and predictions, found now or read; None where mixopt searches.

        Raises:
            ConfigError: The method's budget is below its least.
            RunError: Too little of what it trained can be used.
        """
        with self.running():
            found = self._find_recommendation()
            return None if found is None else found.recommendation

    def answer(self, trials: Trials) -> tuple[list[Proposal], Validation | None]:
        """Validate and spend as the config says, and propose with these runs.

        Args:
            trials: Of the search.

        Returns:
            Proposals, best first, and the statistics of the validation, if the study has one.
        """
        with self.running():
            validation = self.validate(trials=trials) if self.config.validation else None
            if self.config.budget is not None:
                try:
                    self.spend(trials=trials)
                except (StorageError, UnreachableError):
                    raise
                except RunError as error:  # what was found without the budget is told all the same
                    cause = one_line(error, limit=None)
                    self.callbacks.warning(f"The budget was not spent: {cause}", "ratios")
            return self.propose(trials), validation

    def propose(self, trials: Trials) -> list[Proposal]:
        """Propose mixtures, and verify each by merging and scoring it.

        Runs of the study's validation and budget are used if they are trained; none is trained here.

        Args:
            trials: Of the search.

        Returns:
            Proposals, best first.
        """
        with self.running():
            runs = self._open_runs()
            runs.find(trials)
            return runs.propose(runs.policy, trials)

    def validate(
        self, proposal: Proposal | None = None, *, trials: Trials | None = None
    ) -> Validation:
        """Train models on mixtures and compare the proxies' ranking with theirs.

        Each starts from the base and reads `training.tokens`, by default twice what an expert reads.
        Later proposals use these runs.

        Args:
            proposal: One of the mixtures, which decides what is trained; the best proposal without real
                runs if left out, so that a later process finds the same runs.
            trials: Of the search, which runs if they are left out.

        Returns:
            Statistics of each proxy against the trained runs.

        Raises:
            ConfigError: The study has no `validation` section.
            DivergedError: Too few runs were trained without diverging.
        """
        require_validation(self.config)
        with self.running():
            trials = self.search() if trials is None else trials
            runs = self._open_runs()
            proposal = proposal or runs.propose(runs.before_validation, trials, before=True)[0]
            self.callbacks.begin("validation")
            result = runs.validate(proposal, trials)
            write_result(self.callbacks, "proxy-runs.csv", result.runs.to_csv(index=False))
            write_result(self.callbacks, "validation.json", to_json(result.validation.to_dict()))
            self.callbacks.notify(lambda callback: callback.on_validation(result.validation))
            return result.validation

    def spend(
        self, proposals: Sequence[Proposal] | None = None, *, trials: Trials | None = None
    ) -> list[Observation]:
        """Spend the study's budget on runs, each where it raises the expected gain most.

        A study with a `validation` is validated before. Later proposals use these runs.

        Args:
            proposals: Candidates beside ensembles and merges, which decide what is bought; those before
                the budget if left out, so that a later process finds the same runs.
            trials: Of the search, which runs if they are left out.

        Returns:
            The runs, at each of their lengths; one that failed has no scores.

        Raises:
            ConfigError: The study has no `budget` section.
            RunError: Natural could not be trained.
        """
        require_budget(self.config)
        with self.running():
            trials = self.search() if trials is None else trials
            runs = self._open_runs()
            if self.config.validation is not None and not runs.is_validated:
                self.validate(trials=trials)
            if proposals is None:
                proposals = runs.propose(runs.before_budget, trials, before=True)
            self.callbacks.begin("budget")
            bought = runs.spend(proposals, trials)
            table = tabulate(bought, self.config.domains, metrics_that_choose(self.open_search()))
            write_result(self.callbacks, "runs.csv", table.to_csv(index=False))
            return bought

    def export(self, plan: Proposal | Schedule) -> list[Path]:
        """Write the training configs that the study lists into `exports/`.

        Args:
            plan: A proposal, or the schedule of a study with phases.

        Returns:
            The files.

        Raises:
            ExportError: A format cannot express the plan.
        """
        with self.running():
            written: list[Path] = []
            folder, store = self.output / "exports", self.context.store
            for wanted in with_known_paths(self.config):
                written += write_export(wanted, plan, store, folder)
            if written:
                drift = make_request(plan, None, {}).drift
                moved = f"rounding moves no ratio by more than {drift:.1e}"
                count = "1 file" if len(written) == 1 else f"{len(written)} files"
                self.callbacks.message(f"exports: {count}; {moved}")
                self.callbacks.notify(lambda callback: callback.on_file_written(folder))
            return written

    def preview(self) -> Preview:
        """Find ratios from text alone; nothing is trained.

        Returns:
            The allowed mixture whose text is nearest to that of the benchmarks that choose.

        Raises:
            UserError: A domain or the benchmarks have too little text.
            MissingExtraError: `mixopt[transport]` is not installed.
        """
        require_extra("transport")  # before the text is read
        with self.running():
            self.context.corpora.build()
            return preview_study(self.context)

    def write_buckets(self, folder: Path | None = None) -> dict[str, BucketFile]:
        """Write the documents of each bucket of a split text as JSON lines, for trainers.

        Args:
            folder: Where to write; `buckets` in the folder of results if left out.

        Returns:
            The files by domain.

        Raises:
            ConfigError: No text of the study is split.
            DataError: A text cannot be read or split.
        """
        with self.running():
            corpora = self.context.corpora
            if not corpora.buckets:
                raise ConfigError("No text of the study is split; give an expert a `split`.")
            corpora.build()
            return write_buckets(corpora, (folder or self.output / "buckets").absolute())

    def report(
        self, trials: Trials, proposals: Sequence[Proposal], validation: Validation | None = None
    ) -> Path:
        """Write the report: one HTML page that needs no network, and its figures as PNG.

        Args:
            trials: Of the search.
            proposals: Best first.
            validation: Statistics of the proxies against real runs, if any were trained.

        Returns:
            The page.
        """
        with self.running():
            search, policy, device = self.open_search(), self.open_policy(), self.context.device
            self.callbacks.begin("report")
            outcomes = [expert.outcome for expert in search.experts.results.values()]
            trained = list_trained_runs(
                list_observations(self.context, search, policy, trials), metrics_that_choose(search),
                self.context.corpora.natural, self.config.domains, policy.objective,
                self.config.training.expert_length,
            )  # fmt: skip
            data = study_report_data(
                self.config, trials, proposals, validation,
                surrogate=policy.fit(trials),
                proxy_surrogate=self.open_policy(with_runs=False).fit(trials),
                weights=search.space,
                check=policy.check,
                real_runs=policy.runs,
                round_ranks=self._round_ranks,
                domains=count_domains(self.config, self.context.corpora),
                expert_scores=search.score_experts(),
                expert_costs=[(outcome.tokens, outcome.flops) for outcome in outcomes],
                warnings=self.callbacks.study_warnings,
                trained=trained,
                device=f"{device.name}, {device.dtype}",
                elapsed_s=self.callbacks.elapsed_s,
            )  # fmt: skip
            path = write_report(data, self.output)
            self.callbacks.notify(lambda callback: callback.on_file_written(path))
            self.callbacks.notify(lambda c: c.on_file_written(self.output / "figures"))
            return path

    def fit(self, trials: Trials) -> Surrogate:
        """Fit the surrogate, or read it, corrected by the real runs of proposals so far.

        Args:
            trials: Of the search.

        Returns:
            The surrogate of the study's utility.
        """
        return self.open_policy().fit(trials)

    def status(self) -> list[StatusRow]:
        """Return what is done, running, failed and left on this disk, in the order of the stages.

        Nothing is built, and what is at the storage URL alone is not looked at.
        """
        return phases_status(self) if self.config.phases else study_status(self)

    def plan(self) -> list[PlannedTraining]:
        """Return what the study would train, in the order of its stages; train nothing."""
        return plan_study(self.prepare())

    # --- state --------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        """Return a context in which the outermost verb reports start and end and stops its workers."""
        with self.callbacks.running():
            try:
                if self.callbacks.is_outermost:
                    self._write_recipe()
                yield
            except KeyboardInterrupt:
                acknowledge_stop()
                raise
            finally:
                if self.callbacks.is_outermost and "context" in self.__dict__:
                    self.context.close()

    @cached_property
    def context(self) -> StudyContext:
        """Stores, corpora, base, benchmarks and workers; nothing is built to open it."""
        return StudyContext(self.config, self.environment, self.callbacks)

    def prepare(self) -> StudyContext:
        """Build tokenizer and corpora, and check the study, once.

        Returns:
            The context, whose properties can be read from now on.

        Raises:
            ConfigError: The study has phases, or its metrics cannot be added.
            ExportError: An export that the study asks for would fail.
            InfeasibleError: No mixture meets every bound.
        """
        if self.config.phases:
            raise ConfigError("The study has phases, which are searched one by one; use `run`.")
        if not self._is_prepared:
            self.callbacks.begin("text")
            self.context.prepare()
            self._is_prepared = True
        return self.context

    def open_search(self) -> CandidateSearch:
        """Train what is missing of base and experts.

        Returns:
            The search over mixtures of the experts, opened once.

        Raises:
            DivergedError: Fewer than two experts were trained.
        """
        if self._search is None:
            self.prepare()
            report_plan(self.context)
            self._search = open_search(self.context)
        return self._search

    def open_policy(self, *, with_runs: bool = True) -> SurrogatePolicy:
        """Return the policy that fits surrogates.

        Args:
            with_runs: Use the real runs that proposals have used so far. The rounds of the search do
                not, so that they depend on no validation.

        Returns:
            The policy.
        """
        if self._policy is None:
            self._policy = open_policy(self.context, self.open_search())
        return self._open_runs().policy if with_runs else self._policy

    def of_phase(self, config: StudyConfig, name: str) -> "Study":
        """Return the study of a phase, in a folder of its own below this one's.

        Args:
            config: The phase's config.
            name: The phase's name.

        Returns:
            The study; it shares the cache and the callbacks.
        """
        environment, storage = self.environment, self.environment.storage
        return Study(
            config,
            self.output / "phases" / name,
            cache=environment.cache,
            storage=None if storage is None else f"{storage.rstrip('/')}/phases/{name}",
            device=environment.device,
            run_code=environment.run_code,
            callbacks=self.callbacks.callbacks,
        )

    def __repr__(self) -> str:
        config = self.config
        return (
            f"Study({config.name!r}, {len(config.domains)} domains, "
            f"{len(config.benchmarks)} benchmarks, rounds {config.search.rounds}, "
            f"output {str(self.output)!r})"
        )

    def _repr_html_(self) -> str:
        cells = [(row.what, row.state, row.why) for row in self.status()]
        rows = "".join(f"<tr><td>{'</td><td>'.join(map(escape, row))}</td></tr>" for row in cells)
        head = "<tr><th>part</th><th>state</th><th></th></tr>"
        return f"<p>{escape(repr(self))}</p><table>{head}{rows}</table>"

    def _write_recipe(self) -> None:
        write_result(self.callbacks, "recipe.yaml", to_yaml(self.config))
        if self.config.published_method is None:
            # it would be of a method that the recipe named before
            remove_result(self.callbacks, RECOMMENDATION_FILE)

    def _open_runs(self) -> StudyRuns:
        if self._runs is None:
            policy, method = self.open_policy(with_runs=False), self._find_recommendation()
            self._runs = StudyRuns(self.context, self.open_search(), policy, method)
        return self._runs

    def _find_recommendation(self) -> MethodResult | None:
        if self._method is None and self.config.published_method is not None:
            objective = require_objective(self.open_policy(with_runs=False))
            self.callbacks.begin("method")
            self._method = run_method(self.context, self.open_search(), objective)
            found = self._method.recommendation
            self.callbacks.message(describe_recommendation(self.config, found))
            write_result(self.callbacks, RECOMMENDATION_FILE, to_json(found.to_dict()))
        return self._method
