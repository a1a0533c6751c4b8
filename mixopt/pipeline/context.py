"""The foundation: what the verbs of a study stand on, from the laboratory to who searches and learns.

Each part is made when it is first asked for; what came before it is found in the journal or done first.
"""

from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from mixopt.callbacks.base import TrainedModel
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.public_test_sets import warn_of_public_set
from mixopt.config.study import StudyConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.errors import ConfigError, DivergedError
from mixopt.executors.job import Job, JobDispatcher
from mixopt.mixture import Mixture
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline.exports import check_exports
from mixopt.pipeline.results import count_domains
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.surrogate_policy import SurrogatePolicy
from mixopt.pipeline.worker import RunEnvironment, gather_crew
from mixopt.search_space import SearchSpace
from mixopt.surrogates.utility import require_one_direction

if TYPE_CHECKING:
    from mixopt.evaluation.evaluator import MergeEvaluator
    from mixopt.evaluation.tasks.base import ModelTask, Task
    from mixopt.pipeline.laboratory import Laboratory
    from mixopt.training.training_run import TrainingResult

FEWEST_EXPERTS = 2


class StudyContext:
    """What a study stands on.

    Args:
        recipe: The study's.
        site: Where its work is done and kept.
        callbacks: Called at each step.
    """

    def __init__(self, recipe: StudyConfig, site: RunEnvironment, callbacks: CallbackList) -> None:
        self.recipe, self.site, self.callbacks = recipe, site, callbacks
        self.failures: dict[str, str] = {}
        """Experts that were set aside, and why."""

    @cached_property
    def laboratory(self) -> "Laboratory":
        """Corpora, base, experts and scores: the model wing.

        Raises:
            RecipeError: The study has phases, or metrics that cannot be added.
            ExportError: An export that the recipe asks for would fail.
            InfeasibleError: No mixture meets every bound.
        """
        if self.recipe.phases:
            raise ConfigError(
                "The study has phases, which are searched one by one; use `mixopt run`, or "
                "mixopt.run_phases(study)."
            )
        lab = self._open_laboratory()
        # what the user could have got wrong is found before anything is trained
        check_exports(self.recipe, run_code=self.site.run_code)
        self._space_of(lab)
        metrics = lab.scorer.metrics
        if self.recipe.search.normalise == "raw":
            require_one_direction([m for m in metrics if m.role == "search"])
        self.callbacks.notify(lambda o: o.on_domains_counted(count_domains(self.recipe, lab)))
        self._warn_of_benchmarks(lab)
        return lab

    def _open_laboratory(self) -> "Laboratory":
        return self.site.open_laboratory(self.recipe)

    def _warn_of_benchmarks(self, lab: "Laboratory") -> None:
        """What makes a benchmark's score mean less than it seems."""
        from mixopt.data.contamination import describe_contamination

        for benchmark in self.recipe.benchmarks:
            sentence = warn_of_public_set(benchmark)
            if sentence:
                self.callbacks.warning(sentence)
        for sentence in describe_contamination(lab.measure_overlap()):
            self.callbacks.warning(sentence)

    # --- who works ----------------------------------------------------------------------------

    @cached_property
    def hands(self) -> JobDispatcher:
        """Who does the work."""
        return gather_crew(self.site, self.recipe, self.laboratory)

    @cached_property
    def crew(self) -> JobDispatcher:
        """Who does the work, once the base is there."""
        crew = self.hands
        if isinstance(self.recipe.base, BuiltBaseConfig):
            jobs = [Job("train_base", (), "the base", trains=True)]
            for _, error in crew.do([] if self.laboratory.has_base else jobs):
                if error is not None:
                    raise error
            base = self.laboratory.base
            assert base is not None
            self.callbacks.on_model_trained("base", "base", base, {})
        return crew

    def let_workers_go(self) -> None:
        """Ends the workers; the next job gets new ones."""
        if "hands" in self.__dict__:
            self.hands.close()

    # --- experts ------------------------------------------------------------------------------

    @cached_property
    def experts(self) -> dict[str, "TrainingResult"]:
        """The experts by name, trained or found; one that diverges is set aside and said.

        Raises:
            DivergedError: Too few are left.
        """
        trained: dict[str, TrainingResult] = {}
        lab, crew = self.laboratory, self.crew
        names = list(lab.compositions)
        for name, folder in lab.given_experts.items():
            trained[name] = lab.train_expert(name)
            self.callbacks.message(f"Expert {name!r} is given: {folder}")
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
            self.callbacks.on_model_trained("expert", name, trained[name], lab.compositions[name])
        trained = {name: trained[name] for name in names if name in trained}
        if len(trained) < FEWEST_EXPERTS:
            raise DivergedError(
                f"{len(trained)} of {len(names)} experts were trained without diverging and at least "
                f"{FEWEST_EXPERTS} are needed; lower training.learning_rate and run again."
            )
        return trained

    def _set_aside(self, name: str, error: Exception) -> None:
        why = " ".join(str(error).split()) or type(error).__name__
        self.failures[name] = why
        self.callbacks.message(f"Expert {name!r} is set aside and no mixture weighs it: {why}")
        self.callbacks.notify(
            lambda o: o.on_model_trained(TrainedModel("expert", name, failure=why))
        )

    @cached_property
    def swarm(self) -> "MergeEvaluator":
        """Base and experts, ready to be merged and scored."""
        folders = [trained.folder for trained in self.experts.values()]
        swarm = self.laboratory.open_swarm(folders, list(self.experts), self.crew)
        swarm.lost = self.callbacks.warning
        for name, size in zip(self.experts, swarm.facts.step_sizes, strict=True):
            self.callbacks.message(
                f"Expert {name!r} stepped δ = {size:.1%} away from the base (sound below 10%)."
            )
        tasks: list[Task | ModelTask] = [*swarm.scorer.tasks, *swarm.scorer.model_tasks]
        for task in tasks:
            if task.truncated:
                self.callbacks.warning(
                    f"Benchmark {task.metric.name!r}: {task.truncated} items were longer than the "
                    "context and were cut from the left."
                )
        return swarm

    # --- spaces -------------------------------------------------------------------------------

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
        weights = WeightSpace.of_rows(self.space, self.compositions)
        _ = weights.centre  # bounds that the experts cannot meet end the study here
        return weights

    @property
    def compositions(self) -> dict[str, Mixture]:
        """The ratios that each finished expert was trained on."""
        return {name: self.laboratory.compositions[name] for name in self.experts}

    # --- who searches and learns --------------------------------------------------------------

    @cached_property
    def searcher(self) -> CandidateSearch:
        """Chooses candidates and has them scored."""
        return CandidateSearch(self.swarm, self.weight_space, self.compositions, self.recipe.domains,
                        self.recipe.search, self.recipe.seed)  # fmt: skip

    @cached_property
    def learner(self) -> SurrogatePolicy:
        """Learns from the proxies alone: rounds of the search depend on nothing that is validated."""
        return SurrogatePolicy(
            self.recipe,
            lambda trials: self.searcher.measure_reliability(trials),
            store=self.laboratory.store,
        )
