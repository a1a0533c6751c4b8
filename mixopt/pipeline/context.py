"""What the stages of one study share: configuration, stores, text, base, benchmarks and workers.

Nothing here trains or tokenizes but `prepare`; what has not been built raises `MissingArtifactError`.
"""

import logging
from collections.abc import Callable
from copy import copy
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import VISIBLE_AFTER_S, ArtifactStore, find_soon
from mixopt.callbacks.base import Changes
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.benchmarks import public_test_set_warning
from mixopt.config.study import StudyConfig
from mixopt.config.training import BuiltBaseConfig, PretrainedBaseConfig
from mixopt.data.contamination import describe_contamination, measure_contamination
from mixopt.data.study_corpora import StudyCorpora, StudyInputs
from mixopt.errors import ModelError, require_extra
from mixopt.executors.dispatcher import ReadOnlyDispatcher
from mixopt.executors.job import JobDispatcher
from mixopt.io.run_folders import find_model_folder
from mixopt.mixture import Mixture
from mixopt.pipeline.environment import RunEnvironment, describe_idle_cards
from mixopt.pipeline.exports import check_exports
from mixopt.pipeline.given_models import find_given_models
from mixopt.pipeline.input_warnings import warn_of_inputs
from mixopt.pipeline.reference_models import ReferenceModels
from mixopt.pipeline.results import count_domains
from mixopt.search_space import SearchSpace
from mixopt.surrogates.utility import require_one_direction

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mixopt.evaluation.scorer import Scorer
    from mixopt.training.base_model import Base
    from mixopt.training.device import Device

log = logging.getLogger(__name__)


class StudyContext:
    """One study, on the driver or on a worker.

    Args:
        config: The study's.
        environment: Where its work is done and kept.
        callbacks: Notified of what is built or found; nobody on a worker.
        inputs: What the driver measured of the study's inputs, on a worker.
        read_only: Build nothing.
    """

    def __init__(
        self,
        config: StudyConfig,
        environment: RunEnvironment,
        callbacks: CallbackList | None = None,
        *,
        inputs: StudyInputs | None = None,
        read_only: bool = False,
    ) -> None:
        cache = ArtifactStore(environment.cache, read_only=read_only)
        config = find_given_models(config, cache)
        self.config, self.environment, self.inputs = config, environment, inputs
        self.callbacks = callbacks or CallbackList(config, None)
        self.store, self.cache = environment.open_stores(read_only=read_only)
        models = ReferenceModels(config, environment.device)
        self.corpora = StudyCorpora(config, self.store, self.cache, inputs, models)

    def prepare(self) -> None:
        """Build tokenizer and corpora, and find what is wrong with the study before anything is trained.

        Raises:
            ConfigError: The metrics cannot be added, a budget's experts cannot make natural, or the
                budget of a method of others is below its least.
            DataError: The text is too little for a run of natural, where one is trained.
            ExportError: An export that the study asks for would fail.
            InfeasibleError: No mixture meets every bound.
            ModelError: The given base or a given expert cannot be used.
            MissingExtraError: Text is compared and `mixopt[transport]` is not installed.
            UserError: Text is compared and a domain or a benchmark has too little.
        """
        if self.config.compares_text:
            require_extra("transport")
        if not isinstance(self.config.base, BuiltBaseConfig):
            self._require_full_precision(self.config.base)
            self._check_given_weights()
            self.base_model.check_trainable(self.config.training)
        self.corpora.build()
        check_exports(self.config, run_code=self.environment.run_code)
        from mixopt.pipeline.natural_checks import (
            require_reachable_natural,
            require_text_for_natural,
        )

        require_reachable_natural(self)
        require_text_for_natural(self)
        from mixopt.pipeline.method_search import require_method_budget

        require_method_budget(self)
        if self.config.compares_text:
            from mixopt.pipeline.text_samples import require_text

            require_text(self)
        if self.config.search.normalise == "raw":
            require_one_direction([m for m in self.scorer.metrics if m.role == "search"])
        counts = count_domains(self.config, self.corpora)
        self.callbacks.notify(lambda callback: callback.on_domains_counted(counts))
        wants_cards = self.config.base.kind == "pretrained" and self.environment.device != "cpu"
        idle = describe_idle_cards(
            self.config.executor, self._count_cards(), wants_cards=wants_cards
        )
        if idle:
            self.callbacks.warning(idle)
        for changes, sentences in self._warnings().items():
            for sentence in sentences:
                self.callbacks.warning(sentence, changes)

    def _count_cards(self) -> int:
        from mixopt.training.device import list_cards

        trains_here = self.config.executor.kind == "local" and self.device.name == "cuda"
        return len(list_cards()) if trains_here else 0

    def _require_full_precision(self, base: PretrainedBaseConfig) -> None:
        """Refuse a quantized base or expert before anything is read or tokenized."""
        from mixopt.merging.full_precision import require_full_precision, require_unquantized
        from mixopt.training.model_loading import load_config

        if Path(base.path).exists():
            require_full_precision(Path(base.path), "The base")
        else:  # a hub id; its weights are looked at where they are downloaded
            config = load_config(base.path, revision=base.revision)
            require_unquantized(config.to_dict(), f"The base {base.path}")
        for expert in self.config.experts:
            folder = self.given_expert(expert.domain)
            if folder is not None:
                require_full_precision(folder, f"Expert {expert.domain!r}",
                                       allow_pickle=expert.allow_pickle)  # fmt: skip

    def _check_given_weights(self) -> None:
        """Read the weights of base and experts once, before anything is trained from them."""
        from mixopt.merging.full_precision import require_full_precision
        from mixopt.merging.weights_check import check_weights

        def check_once(name: str, key: object, check: Callable[[], None]) -> None:
            artifact = Artifact("checks", name, {"weights": key})
            self.store.get_or_build(artifact, lambda _: check())

        def check_base() -> None:
            folder = base.find_folder()
            require_full_precision(folder, "The base")
            check_weights(folder, "The base", base.layout)

        base = self.base_model
        # a remote worker downloads a hub id by itself, this machine may not need it
        if Path(base.path).is_dir() or self.config.executor.kind in ("local", "processes"):
            check_once("base", base.compute_key(), check_base)
        for expert in self.config.experts:
            folder, pickled = self.given_expert(expert.domain), expert.allow_pickle
            if folder is None:
                continue
            # a hash would read all files at each start
            files = [
                (file.name, file.stat().st_size, file.stat().st_mtime_ns)
                for pattern in ("*.safetensors", *(("*.bin",) if pickled else ()))
                for file in sorted(folder.glob(pattern))
            ]
            check_once(expert.domain, files, partial(check_weights, folder, f"Expert {expert.domain!r}",
                                                     allow_pickle=pickled))  # fmt: skip

    def _warnings(self) -> dict[Changes, list[str]]:
        from mixopt.evaluation.tasks.items import read_item_texts
        from mixopt.pipeline.natural_checks import (
            describe_forbidden_natural,
            describe_untrained_lengths,
        )

        benchmarks = self.config.benchmarks
        public = [public_test_set_warning(benchmark) for benchmark in benchmarks]
        texts = {benchmark.name: read_item_texts(benchmark) for benchmark in benchmarks}
        corpora = self.corpora
        read = {domain: partial(corpora.read_tokenized, domain) for domain in corpora.by_domain}
        shared = measure_contamination(read, corpora.counts, texts, self.store)
        forbidden = describe_forbidden_natural(self.space)
        odd = warn_of_inputs(corpora.read, corpora.fingerprints, benchmarks)
        return {
            "ratios": [*filter(None, [forbidden, describe_untrained_lengths(self)]), *odd],
            "scores": [*filter(None, public), *describe_contamination(shared)],
        }

    @cached_property
    def device(self) -> "Device":
        """The device that trains and scores, here or on the workers."""
        from mixopt.training.device import Device
        from mixopt.training.model_loading import resolve_dtype

        executor, name = self.config.executor, self.environment.device
        if executor.kind in ("ray", "slurm") and name == "auto":
            name = "cuda" if executor.gpus else "cpu"
        here = executor.kind == "local" or self.inputs is not None
        return Device.choose(name, resolve_dtype(self.config.base), here=here)

    @cached_property
    def base_model(self) -> "Base":
        """What every expert starts from.

        Raises:
            MissingArtifactError: It is to be trained and has not been.
        """
        from mixopt.pipeline.training_runs import base_run
        from mixopt.training.base_model import Base

        config, run = self.config.base, base_run(self)
        tokenizer = self.corpora.tokenizer
        make = partial(Base, context=config.context, device=self.device, tokenizer=tokenizer)
        if run is not None:
            folder = self.folder_of(run.artifact)
            return make(str(folder), name=folder.name)
        assert not isinstance(config, BuiltBaseConfig)
        name = self.inputs.base if self.inputs else None
        return make(config.path, revision=config.revision, name=name)

    @cached_property
    def base_parameters(self) -> int:
        """Number of the base's parameters outside the embeddings; it need not be trained.

        Raises:
            ModelError: transformers cannot build the model, or the context is too long for it.
        """
        from mixopt.pipeline.training_runs import count_built_parameters

        base = self.config.base
        if isinstance(base, BuiltBaseConfig):
            return count_built_parameters(base, self.corpora.tokenizer)
        return self.base_model.parameters

    @cached_property
    def all_base_parameters(self) -> int:
        """Number of the base's parameters, embeddings included; it need not be trained.

        Raises:
            ModelError: transformers cannot build the model, or the context is too long for it.
        """
        from mixopt.pipeline.training_runs import count_built_parameters

        base = self.config.base
        if isinstance(base, BuiltBaseConfig):
            return count_built_parameters(base, self.corpora.tokenizer, embeddings=True)
        return self.base_model.all_parameters

    def load_trainable(self) -> "PreTrainedModel":
        """Return the base, ready to be trained as experts are."""
        return self.base_model.load_trainable(self.config.training, self.config.seed)

    @cached_property
    def compositions(self) -> dict[str, Mixture]:
        """Ratios of the tokens that each expert is trained on (rows of `k x d`)."""
        training = self.config.training
        if training.compositions is not None:
            return {name: Mixture(row) for name, row in training.compositions.items()}
        anchor = Mixture(training.anchor) if training.anchor else self.corpora.natural
        rows, domains = {}, self.config.domains
        for domain in domains:
            row = {name: training.anchor_share * anchor.get(name, 0.0) for name in domains}
            row[domain] += 1 - training.anchor_share
            rows[domain] = Mixture(row)
        return rows

    @cached_property
    def given_experts(self) -> dict[str, Path]:
        """Folders of the experts that were trained elsewhere, by name; of runs, the last checkpoints."""
        experts = self.config.experts
        return {
            expert.domain: find_model_folder(Path(expert.checkpoint))
            for expert in experts
            if expert.checkpoint is not None
        }

    def given_expert(self, name: str) -> Path | None:
        """Return the folder of an expert that was trained elsewhere; None of others.

        Raises:
            ModelError: The folder does not exist.
        """
        folder = self.given_experts.get(name)
        if folder is not None and not folder.is_dir():
            raise ModelError(f"Expert {name!r}: {folder} does not exist; correct its checkpoint.")
        return folder

    def folder_of(self, artifact: Artifact) -> Path:
        """Return the folder of an artifact; a worker waits until the file system shows it.

        Raises:
            MissingArtifactError: It has not been built.
        """
        wait = VISIBLE_AFTER_S if self.inputs is not None else 0.0
        return find_soon(artifact, self.store, wait) or self.store.get(artifact)

    def measure_inputs(self) -> StudyInputs:
        """Return what a worker on another machine must know of the study's inputs."""
        from mixopt.evaluation.engine import hash_expert

        given = {name: hash_expert(folder) for name, folder in self.given_experts.items()}
        built = isinstance(self.config.base, BuiltBaseConfig)
        base = None if built else self.base_model.compute_key()
        corpora = self.corpora
        sources = list(corpora.source_fingerprints.values())
        return StudyInputs(corpora.fingerprints, corpora.counts, base, given, sources)

    @cached_property
    def scorer(self) -> "Scorer":
        """The benchmarks, tokenized for scoring."""
        from mixopt.evaluation.scorer import Scorer
        from mixopt.evaluation.tasks.base import TaskContext
        from mixopt.evaluation.tasks.registry import build_task

        length, run_code = self.config.base.context, self.environment.run_code
        context = TaskContext(self.corpora.tokenizer, length, run_code)
        return Scorer([build_task(config, context) for config in self.config.benchmarks])

    @cached_property
    def space(self) -> SearchSpace:
        """The mixtures that may be proposed: the study's bounds and the repetition caps."""
        caps = self.config.target_budget(self.corpora.available_tokens).caps
        domains = tuple(self.config.domains)
        return self.config.search.space(domains, caps=caps, prior=self.corpora.natural)

    @cached_property
    def dispatcher(self) -> JobDispatcher:
        """What runs the study's jobs: this process, or workers that the study's executor opens."""
        from mixopt.pipeline.worker import open_dispatcher

        return ReadOnlyDispatcher(self.store) if self.store.read_only else open_dispatcher(self)

    def only_finding(self) -> "StudyContext":
        """Return this study for a look at its jobs: they are found, not run, and nothing is reported."""
        found = copy(self)
        found.callbacks = CallbackList(self.config, None)
        found.dispatcher = ReadOnlyDispatcher(self.store)
        return found

    def close(self) -> None:
        """Stop the workers; the next job starts new ones."""
        if "dispatcher" in self.__dict__:
            self.dispatcher.close()
