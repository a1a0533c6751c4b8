"""The laboratory: for one recipe, the corpora, the base, the experts, and scores of both proxies.

The model wing's front door. Everything slow goes through a store, so it is done once.

Shapes: `k` experts, `d` domains.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import StudyConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.data.contamination import Contamination, measure_contamination
from mixopt.data.corpus import Corpus
from mixopt.data.study_corpora import StudyCorpora, StudyInputs
from mixopt.errors import ModelError
from mixopt.evaluation.assemble import assemble, hash_expert
from mixopt.evaluation.engine import Engine, StreamedEngine
from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.score_cache import Results, load_results, save_results
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.items import read_item_texts
from mixopt.evaluation.tasks.registry import build_task
from mixopt.executors.job import JobDispatcher
from mixopt.mixture import Mixture
from mixopt.training.base_model import Base
from mixopt.training.device import Device
from mixopt.training.model_loading import build_model, count_parameters, resolve_dtype
from mixopt.training.step_law import OptimizerHyperparameters
from mixopt.training.trainer import TrainingOutcome, save_expert
from mixopt.training.training_run import LacksError, Trainer, TrainingResult, Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Laboratory:
    """Corpora, base, experts and scores of one recipe.

    Args:
        recipe: The study's.
        store: Where units are kept.
        cache: Where corpora are kept.
        device: `auto`, `cpu`, `cuda`, ...
        devices: Cards that train one model; those of this process if left out.
        here: Whether the device must be on this machine.
        makes: Whether what lacks is made here; else it is awaited from workers.
        run_code: Whether programs that models write may be run.
        handed: What another process found of the study's inputs.
    """

    def __init__(
        self,
        recipe: StudyConfig,
        store: ArtifactStore,
        *,
        cache: ArtifactStore,
        device: str,
        devices: int | None = None,
        here: bool = True,
        makes: bool = True,
        run_code: bool = False,
        handed: StudyInputs | None = None,
    ) -> None:
        self.recipe = recipe
        self._run_code = run_code
        self.store = store
        self.texts = StudyCorpora(recipe, store, cache, handed)
        self._handed = handed
        self.device = Device.choose(device, resolve_dtype(recipe.base), here=here)
        self._devices, self._makes, self._only_find = devices, makes, False

    # --- texts and base -----------------------------------------------------------------------

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The base's tokenizer."""
        return self.texts.load_tokenizer()

    @property
    def corpora(self) -> Mapping[str, Corpus]:
        """The corpus of each domain that has text."""
        return self.texts.tokenize_all()

    @property
    def available_tokens(self) -> dict[str, int]:
        """Tokens of each domain that the target run could draw on, where that is known."""
        return self.texts.count_available_tokens()

    @property
    def natural(self) -> Mixture:
        """The natural mixture."""
        return self.texts.natural_mixture()

    def hand(self) -> StudyInputs:
        """What a worker elsewhere must know of the study's inputs."""
        given = {name: hash_expert(folder) for name, folder in self.given_experts.items()}
        base = None if isinstance(self.recipe.base, BuiltBaseConfig) else self._start.compute_key()
        return StudyInputs(self.texts.fingerprint(), self.corpora, base, given)

    @property
    def has_base(self) -> bool:
        """Whether the base that is to be built is there."""
        return self._find(lambda: self.base)

    def has_expert(self, name: str) -> bool:
        """Whether the expert called `name` is there."""
        return self._find(lambda: self.train_expert(name))

    def has_proxy_run(self, name: str, ratios: Mixture, seed: int) -> bool:
        """Whether a real training is there."""
        return self._find(lambda: self.train_proxy_run(name, ratios, seed))

    def _find(self, step: Callable[[], object]) -> bool:
        """Whether `step` finds what it would train."""
        before, self._only_find = self._only_find, True
        try:
            step()
        except LacksError:
            return False
        finally:
            self._only_find = before
        return True

    @cached_property
    def workshop(self) -> Trainer:
        """Where models are trained."""
        minutes = self.recipe.executor.checkpoint_minutes
        return Trainer(
            self.texts, self.store, self.device, self._devices, self.context, minutes, self._makes
        )

    def _train(self, work: Work) -> TrainingResult:
        return self.workshop.train(work, only_find=self._only_find)

    @cached_property
    def base(self) -> TrainingResult | None:
        """The trained base; None where it was given."""
        recipe = self.recipe.base
        if not isinstance(recipe, BuiltBaseConfig):
            return None
        ratios = Mixture(recipe.ratios) if recipe.ratios else self.natural

        def open_model() -> "PreTrainedModel":
            return build_model(recipe, self.tokenizer, self.recipe.seed)

        def save(model: "PreTrainedModel", scratch: Path) -> None:
            model.save_pretrained(scratch)
            self.tokenizer.save_pretrained(scratch)

        with torch.device("meta"):
            parameters = count_parameters(open_model())[1]
        key = recipe.model_dump(mode="json") | {"tokenizer": self.texts.tokenizer_key(recipe)}
        return self._train(
            Work("base", "base", ratios, self.recipe.seed, key, recipe.training, parameters,
                 open_model, save)
        )  # fmt: skip

    @cached_property
    def _start(self) -> Base:
        """What experts start from, once it is there."""
        recipe = self.recipe.base
        trained = self.base
        if isinstance(recipe, BuiltBaseConfig):
            assert trained is not None
            return Base(str(trained.folder), self.context, self.device, self.tokenizer,
                        name=trained.folder.name)  # fmt: skip
        return Base(
            recipe.path, self.context, self.device, self.tokenizer, revision=recipe.revision,
            name=self._handed.base if self._handed else None,
        )  # fmt: skip

    @property
    def context(self) -> int:
        """Tokens per sequence, in training and in scoring."""
        return self.recipe.base.context

    # --- training -----------------------------------------------------------------------------

    @cached_property
    def compositions(self) -> dict[str, Mixture]:
        """The ratios of the tokens that each expert is trained on (rows of `k x d`)."""
        training = self.recipe.training
        if training.compositions is not None:
            return {name: Mixture(row) for name, row in training.compositions.items()}
        anchor = Mixture(training.anchor) if training.anchor else self.natural
        share = training.anchor_share
        rows = {}
        for domain in self.recipe.domains:
            row = {name: share * anchor.get(name, 0.0) for name in self.recipe.domains}
            row[domain] += 1 - share
            rows[domain] = Mixture(row)
        return rows

    @property
    def given_experts(self) -> dict[str, Path]:
        """Folders of the experts that were trained elsewhere, by name."""
        return {
            expert.domain: Path(expert.checkpoint)
            for expert in self.recipe.experts
            if expert.checkpoint is not None
        }

    def train_expert(self, name: str) -> TrainingResult:
        """The expert called `name`, trained or found; or the one that the recipe gives.

        Raises:
            ModelError: The recipe gives a folder that is not there.
            DivergedError: Its loss stopped being finite.
            DataError: Its text would be read more often than `max_epochs` allows.
        """
        given = self.given_experts.get(name)
        if given is not None:
            if not given.is_dir():
                raise ModelError(f"Expert {name!r}: {given} does not exist; mend its checkpoint.")
            return TrainingResult(
                given,
                TrainingOutcome(name, 0, 0, (), 0.0),
                OptimizerHyperparameters(0.0, 0, "given"),
                {},
            )
        index = list(self.compositions).index(name)
        seed = _mix_seed(self.recipe.seed, "expert", index)
        return self._train(
            Work("experts", name, self.compositions[name], seed, {"base": self._start.compute_key()},
                 self.recipe.training, self._start.parameters, self._load_trainable, save_expert)
        )  # fmt: skip

    def continue_base(self, name: str, ratios: Mixture, tokens: int) -> Path:
        """The base trained on for `tokens` on `ratios`: where a later phase of the run begins."""
        training = self.recipe.training.model_copy(update={"tokens": tokens, "method": "full"})
        if self.recipe.training.method == "lora":  # a rate for factors is none for whole models
            training = training.model_copy(update={"learning_rate": None})

        def save(model: "PreTrainedModel", scratch: Path) -> None:
            model.save_pretrained(scratch)
            self.tokenizer.save_pretrained(scratch)

        seed = _mix_seed(self.recipe.seed, "phase", 0)
        start = self._start
        return self._train(
            Work("bases", name, ratios, seed, {"base": start.compute_key()}, training, start.parameters,
                 lambda: start.load(torch.float32), save)
        ).folder  # fmt: skip

    def train_proxy_run(
        self, name: str, ratios: Mixture, seed: int
    ) -> tuple[TrainingResult, Results]:
        """A real training on `ratios` from the same base, and its scores; weights are not kept."""

        def save_scores(model: "PreTrainedModel", scratch: Path) -> None:
            merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
            save_results({"trained": self.scorer.score(merged.to(self.device.dtype))}, scratch)

        key = {"base": self._start.compute_key(), "benchmarks": self.scorer.digest}
        drawn = _mix_seed(self.recipe.seed, "proxy run", seed)
        trained = self._train(
            Work("proxy-runs", name, ratios, drawn, key, self.recipe.training,
                 self._start.parameters, self._load_trainable, save_scores)
        )  # fmt: skip
        return trained, load_results(trained.folder)["trained"]

    def _load_trainable(self) -> "PreTrainedModel":
        return self._start.load_trainable(self.recipe.training, self.recipe.seed)

    # --- scoring ------------------------------------------------------------------------------

    @cached_property
    def scorer(self) -> Scorer:
        """The benchmarks, laid out for scoring."""
        context = TaskContext(self.tokenizer, self.context, self._run_code)
        return Scorer([build_task(recipe, context) for recipe in self.recipe.benchmarks])

    def measure_overlap(self) -> list[Contamination]:
        """How many items of each benchmark are in each domain's training text."""
        texts = {recipe.name: read_item_texts(recipe) for recipe in self.recipe.benchmarks}
        return measure_contamination(self.texts.by_domain, self.corpora, texts, self.store)

    def expert_keys(self, experts: Sequence[Path]) -> list[str]:
        """What stands for experts in the keys of their scores: our own are named by theirs."""
        given = {folder: name for name, folder in self.given_experts.items()}
        handed = self._handed.experts if self._handed else {}
        return [
            handed.get(given[folder]) or hash_expert(folder) if folder in given else folder.name
            for folder in experts
        ]

    def open_swarm(
        self, experts: Sequence[Path], names: Sequence[str] = (), crew: JobDispatcher | None = None
    ) -> MergeEvaluator:
        """Base and experts, ready to be merged and scored.

        Args:
            experts: Folders.
            names: What the experts are called, where a crew has to know.
            crew: Who scores; this process if left out.
        """
        key = {
            "base": self._start.compute_key(),
            "experts": self.expert_keys(experts),
            "device": self.device.key,
        }
        return MergeEvaluator(
            lambda: self._open_engine(experts), len(experts), self.scorer, self.store, key,
            self.recipe.search.gamma, names=names, crew=crew,
        )  # fmt: skip

    def _open_engine(self, experts: Sequence[Path]) -> Engine:
        given = {
            Path(e.checkpoint): e.allow_pickle
            for e in self.recipe.experts
            if e.checkpoint is not None
        }
        engine = assemble(
            self._start,
            {folder: given.get(folder) for folder in experts},
            self.store,
            scoring=self.recipe.search.scoring,
            memory_bytes=self.recipe.search.memory,
        )
        if isinstance(engine, StreamedEngine):
            engine.measure(self.scorer, [])  # told now, not after the first sweep
        return engine


def _mix_seed(seed: int, what: str, index: int) -> int:
    """A seed of its own for each piece of work, which depends on nothing else."""
    digest = hashlib.blake2b(f"{seed} {what} {index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 2**31
