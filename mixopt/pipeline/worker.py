"""Working: what a worker does of a study, wherever it is, and how a study comes by its crew."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from mixopt.artifacts.rank0_store import RankZeroStore
from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.artifacts.store import ArtifactStore, hash_key
from mixopt.config.study import StudyConfig
from mixopt.executors.base import Executor, WorkerLostError, open_executor
from mixopt.executors.dispatcher import Dispatcher
from mixopt.executors.job import Job
from mixopt.executors.local import LocalExecutor
from mixopt.mixture import Mixture
from mixopt.pipeline.input_staging import stage, unstage

if TYPE_CHECKING:
    from mixopt.data.study_corpora import StudyInputs
    from mixopt.evaluation.estimator import SampledEvaluator
    from mixopt.evaluation.evaluator import MergeEvaluator
    from mixopt.pipeline.laboratory import Laboratory
    from mixopt.training.distributed import ProcessGroup

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunEnvironment:
    """Where a study's work is done and kept.

    Attributes:
        journal: Folder of the journal on the machine that runs the study.
        cache: Folder of its corpora.
        storage: URL that workers share with it; a disk that all see if None.
        device: `auto`, `cpu`, `cuda`, ...
        run_code: Whether programs that models write may be run.
    """

    journal: Path
    cache: Path
    storage: str | None
    device: str
    run_code: bool

    def open_journals(self) -> tuple[ArtifactStore, ArtifactStore]:
        """The journal, and that of corpora."""
        if is_launched():
            ranks = join_launch(cpu=self.device == "cpu")
            return RankZeroStore(self.journal, ranks), RankZeroStore(self.cache, ranks)
        if self.storage is None:
            return ArtifactStore(self.journal), ArtifactStore(self.cache)
        url = self.storage.rstrip("/")
        return (
            RemoteArtifactStore(self.journal, f"{url}/journal"),
            RemoteArtifactStore(self.cache, f"{url}/cache"),
        )

    def on_another_machine(self) -> "RunEnvironment":
        """The same, with folders that a machine without this disk has."""
        if self.storage is None:
            return self
        own = Path(gettempdir()) / f"mixopt-{os.getuid()}-{hash_key({'storage': self.storage})}"
        return RunEnvironment(
            own / "journal", own / "cache", self.storage, self.device, self.run_code
        )

    def open_laboratory(
        self,
        recipe: StudyConfig,
        handed: "StudyInputs | None" = None,
        *,
        journals: tuple[ArtifactStore, ArtifactStore] | None = None,
    ) -> "Laboratory":
        """The laboratory of `recipe` here: of who sends work or, with `handed`, of a worker."""
        from mixopt.pipeline.laboratory import Laboratory

        journal, cache = journals or self.open_journals()
        executor = recipe.executor
        device, devices = self.device, None
        if executor.kind == "processes":
            devices = 1
        elif executor.kind in ("ray", "slurm"):
            if device == "auto":
                device = "cuda" if executor.gpus else "cpu"
            devices = max(1, int(executor.gpus))
        here = executor.kind == "local" or handed is not None
        return Laboratory(
            recipe, journal, cache=cache, device=device, devices=devices, here=here,
            makes=here or journals is not None,
            run_code=self.run_code, handed=handed,
        )  # fmt: skip


class Worker:
    """Does jobs with one laboratory, and keeps the models that it has loaded."""

    def __init__(self, laboratory: "Laboratory") -> None:
        self._laboratory = laboratory
        self._swarms: dict[tuple[str, ...], MergeEvaluator] = {}
        self._estimator: tuple[object, SampledEvaluator] | None = None
        """The last one: it has read all that it learnt from."""

    def __call__(self, job: Job) -> None:
        """Does a job: makes its units, or finds them.

        Raises:
            Exception: What it failed of.
        """
        VERBS[job.verb](self, *job.arguments)

    def _train_base(self) -> None:
        _ = self._laboratory.base

    def _train_expert(self, name: str) -> None:
        self._laboratory.train_expert(name)

    def _train_proxy_run(self, name: str, ratios: Mapping[str, float], seed: int) -> None:
        self._laboratory.train_proxy_run(name, Mixture(ratios), seed)

    def _continue_base(self, name: str, ratios: Mapping[str, float], tokens: int) -> None:
        self._laboratory.continue_base(name, Mixture(ratios), tokens)

    def _describe(self, names: Sequence[str]) -> None:
        _ = self._swarm(names).facts

    def _score_corner(self, names: Sequence[str], index: int) -> None:
        self._swarm(names).make_corners([index])

    def _score(self, names: Sequence[str], rows: Sequence[tuple[float, ...]]) -> None:
        for _ in self._swarm(names).make(rows):
            pass

    def _estimate(
        self,
        names: Sequence[str],
        seen: Sequence[Sequence[float]],
        share: float,
        seed: int,
        rows: Sequence[tuple[float, ...]],
    ) -> None:
        from mixopt.evaluation.estimator import SampledEvaluator

        swarm, asked = self._swarm(names), (tuple(map(tuple, seen)), share, seed)
        if self._estimator is None or self._estimator[0] != (swarm, asked):
            self._estimator = (swarm, asked), SampledEvaluator(swarm, seen, share, seed)
        for _ in self._estimator[1].make(rows):
            pass

    def _measure_slopes(self, names: Sequence[str], row: Sequence[float]) -> None:
        self._swarm(names).slopes(row)

    def _swarm(self, names: Sequence[str]) -> "MergeEvaluator":
        """Base and the experts called `names`, of which one set is held at a time."""
        asked = tuple(names)
        if asked not in self._swarms:
            self._swarms.clear()
            folders = [self._laboratory.train_expert(name).folder for name in asked]
            self._swarms[asked] = self._laboratory.open_swarm(folders, asked)
        return self._swarms[asked]


VERBS: Mapping[str, Callable[..., None]] = {
    "train_base": Worker._train_base,
    "train_expert": Worker._train_expert,
    "train_proxy_run": Worker._train_proxy_run,
    "continue_base": Worker._continue_base,
    "describe": Worker._describe,
    "score_corner": Worker._score_corner,
    "score": Worker._score,
    "estimate": Worker._estimate,
    "measure_slopes": Worker._measure_slopes,
}


def hire(site: RunEnvironment, recipe: StudyConfig, handed: "StudyInputs") -> Worker:
    """A worker of the study at `site`, on the machine where this is called."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    if site.storage is not None:
        recipe = unstage(recipe, site.open_journals()[0])
    return Worker(site.open_laboratory(recipe, handed))


def gather_crew(site: RunEnvironment, recipe: StudyConfig, laboratory: "Laboratory") -> Dispatcher:
    """Who does the study's work: this process, or workers that the recipe's executor opens.

    Raises:
        MissingExtraError: The executor's package is not installed.
    """
    executor = recipe.executor

    def begin() -> Executor:
        if executor.kind == "local":
            return LocalExecutor(Worker(laboratory))
        sent = recipe if site.storage is None else stage(recipe, laboratory.store)
        order = partial(hire, site.on_another_machine(), sent, laboratory.hand())
        opened = open_executor(executor, order, site.journal.parent / "executor", _cards(site))
        log.info("Executor %s: %d workers", executor.kind, opened.slots)
        return opened

    journal = ArtifactStore(site.journal)

    def ended(job: Job, error: Exception | None) -> None:
        own = {"verb": job.verb, "arguments": job.arguments}
        if isinstance(error, WorkerLostError):  # nobody else could write it down
            journal.note_failure("jobs", job.name, own, error)
        elif error is None:
            journal.forget_failure("jobs", own)

    return Dispatcher(begin, executor.retries, ended)


def is_launched() -> bool:
    """Whether torchrun or accelerate has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_silent() -> bool:
    """Whether another process of the launch does the talking."""
    return is_launched() and os.environ.get("RANK", "0") != "0"


def join_launch(*, cpu: bool) -> "ProcessGroup":
    """The processes of the launch, joined."""
    from mixopt.training.distributed import ProcessGroup

    return ProcessGroup.launched(cpu=cpu)


def _cards(site: RunEnvironment) -> list[str]:
    """This machine's GPUs, by the names that CUDA_VISIBLE_DEVICES takes."""
    from mixopt.training.device import list_cards

    return [] if site.device == "cpu" else list_cards()
