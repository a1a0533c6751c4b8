"""The workshop: models trained on mixtures of a study's corpora, each a unit of the store.

A training is found, made now, or awaited from the workers that make it elsewhere.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.training import TrainingConfig
from mixopt.data.corpus import check_epochs
from mixopt.data.study_corpora import StudyCorpora
from mixopt.errors import DataError, RunError
from mixopt.executors.job import SEEN_AFTER_S, wait_for
from mixopt.mixture import Mixture
from mixopt.training.checkpointing import CheckpointManager, load_parameters
from mixopt.training.dataset import MixtureDataset
from mixopt.training.device import Device
from mixopt.training.distributed import ProcessGroup, is_sharded
from mixopt.training.step_law import OptimizerHyperparameters, resolve_hyperparameters
from mixopt.training.trainer import BatchPlan, TrainingOutcome, count_devices, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TrainingResult:
    """A finished training: where it lies, what it came to, what step it took."""

    folder: Path
    outcome: TrainingOutcome
    step: OptimizerHyperparameters
    epochs: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Work:
    """One training.

    Attributes:
        kind: Of its unit.
        name: Of its unit.
        ratios: Of the tokens that it reads.
        seed: Of their order.
        key: What else determines it.
        training: How it is trained.
        parameters: Outside of embeddings; the step is resolved by them.
        open_model: Loads or builds what is trained.
        save: Writes what is kept of it into a folder.
    """

    kind: str
    name: str
    ratios: Mixture
    seed: int
    key: Mapping[str, Any]
    training: TrainingConfig
    parameters: int
    open_model: Callable[[], "PreTrainedModel"]
    save: Callable[["PreTrainedModel", Path], None]

    @property
    def domains(self) -> list[str]:
        """Those that it reads."""
        return [domain for domain in self.ratios if self.ratios[domain]]


class LacksError(Exception):
    """What would be trained now."""


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains models on mixtures of corpora.

    Attributes:
        texts: The corpora.
        store: Where units are kept.
        device: That trains.
        devices: Cards that train one model; those of this process if None.
        context: Tokens per sequence.
        checkpoint_minutes: Between checkpoints of a training.
        makes: Whether what lacks is made here; else it is awaited from workers.
    """

    texts: StudyCorpora
    store: ArtifactStore
    device: Device
    devices: int | None
    context: int
    checkpoint_minutes: float
    makes: bool

    def train(self, work: Work, *, only_find: bool = False) -> TrainingResult:
        """The model of `work`, trained or found.

        Raises:
            DivergedError: Its loss stopped being finite.
            DataError: Its text would be read more often than `max_epochs` allows, or is not there.
            RunError: Workers have not made it.
            LacksError: It is not there, and `only_find` forbids to train it.
        """
        epochs = self._check_text(work)
        step = resolve_hyperparameters(work.training, work.parameters)
        devices = self.devices or count_devices(self.device)
        plan = BatchPlan.of(
            work.training, step, self.context, devices, vocabulary=len(self.texts.load_tokenizer())
        )
        key = {
            **work.key,
            "training": work.training.model_dump(mode="json"),
            "step": [step.learning_rate, plan.sequences_per_step, plan.steps],
            "ratios": dict(work.ratios),
            "corpora": [self.texts.tokenize_all()[domain].folder.name for domain in work.domains],
            "context": self.context,
            "seed": work.seed,
            "device": self.device.key,
        }

        def find() -> Path | None:
            return self.store.find(work.kind, work.name, key)

        if only_find and find() is None:
            raise LacksError(work.name)
        if not self.makes and wait_for(find, SEEN_AFTER_S) is None:
            raise RunError(
                f"No worker has made {work.name!r} as it was asked for; run the same mixopt, Python and "
                "libraries on all machines."
            )
        build = partial(self._build, work, key, step, plan)
        folder = self.store.make(work.kind, work.name, key, build)
        told = json.loads((folder / "outcome.json").read_text())
        told["losses"] = tuple((int(at), float(loss)) for at, loss in told["losses"])
        return TrainingResult(folder, TrainingOutcome(**told), step, epochs)

    def _check_text(self, work: Work) -> dict[str, float]:
        """How often each domain's text will be read."""
        for domain in work.domains:
            if domain not in self.texts.tokenize_all():
                raise DataError(
                    f"{work.name!r} is to be trained on {domain!r}, which has no text; give the "
                    "domain's expert a text."
                )
        tokens = work.training.tokens
        return check_epochs(
            self.texts.tokenize_all(),
            work.ratios,
            tokens=tokens,
            max_epochs=work.training.max_epochs,
            what=f"the {tokens:,} tokens of {work.name!r}",
        )

    def _build(
        self,
        work: Work,
        key: Mapping[str, Any],
        step: OptimizerHyperparameters,
        plan: BatchPlan,
        scratch: Path,
    ) -> None:
        dataset = MixtureDataset(
            {domain: self.texts.open(domain) for domain in work.domains},
            Mixture({domain: work.ratios[domain] for domain in work.domains}),
            sequences=plan.sequences,
            context=self.context,
            seed=work.seed,
        )
        model = work.open_model()
        processes = ProcessGroup.launched(cpu=self.device.name == "cpu")
        outcome, whole = train(
            model, dataset, work.training, step, plan,
            name=work.name, scratch=scratch, device=self.device, seed=work.seed,
            workplace=CheckpointManager(
                self.store.workplace(work.kind, work.name, key),
                60 * self.checkpoint_minutes,
                partial(self.store.keep, work.kind, work.name, key),
                processes,
            ),
        )  # fmt: skip
        if not processes.is_main:
            return
        if is_sharded(model):
            model = work.open_model()
        load_parameters(model, whole)
        work.save(model, scratch)
        (scratch / "outcome.json").write_text(json.dumps(asdict(outcome), indent=2))
