"""The base: a small model built from a recipe, a local folder, or a hub id.

Learning rates and batch sizes that a recipe leaves out come from the Step Law (Li et al. 2025,
arXiv:2503.04715): η = 1.79·N^-0.713·D^0.307 and B = 0.58·D^0.571 tokens, for N non-embedding
parameters and D training tokens. It was fitted for pre-training from 60M parameters up; below,
and for restarts, it is an extrapolation, which is why it is printed with its source.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mixopt.errors import DataError, ModelError
from mixopt.recipe import BuiltBase, Optimisation, PretrainedBase

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

SEPARATOR = "<|endoftext|>"


@dataclass(frozen=True)
class Device:
    """Where models run and in which type they are loaded."""

    name: str
    dtype: torch.dtype

    @property
    def torch(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.name)

    @property
    def key(self) -> list[str]:
        """Kind and type: another card of the same kind gives the same model to rounding."""
        return [self.name.split(":")[0], str(self.dtype)]

    @classmethod
    def choose(cls, name: str = "auto", dtype: str = "auto", *, here: bool = True) -> "Device":
        """The named device; `auto` takes an accelerator where there is one.

        Args:
            name: As torch calls it, or `auto`.
            dtype: Type that models are loaded in.
            here: Whether it must be on this machine, not only on those of its workers.

        Raises:
            ModelError: The device does not exist on this machine.
        """
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        if name == "auto":
            name = accelerator.type if accelerator else "cpu"
        if ":" in name:
            raise ModelError(
                f"Device {name!r} names one card; choose cards by CUDA_VISIBLE_DEVICES and pass "
                f"{name.split(':')[0]!r}."
            )
        try:
            torch.empty(0, device=name if here else "cpu")
        except (RuntimeError, AssertionError):
            found = f"cpu, {accelerator.type}" if accelerator else "cpu"
            raise ModelError(
                f"Device {name!r} is not on this machine; here are: {found}."
            ) from None
        types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        return cls(name, types.get(dtype, torch.float32))


def list_cards() -> list[str]:
    """CUDA cards that this process may use, as CUDA_VISIBLE_DEVICES names them; none is opened."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [card.strip() for card in told.split(",") if card.strip() not in ("", "-1")]
    return [str(card) for card in range(torch.cuda.device_count())]


def build_tokenizer(texts: Iterable[str], recipe: BuiltBase) -> "PreTrainedTokenizerBase":
    """A byte-level BPE tokenizer trained on at most `tokenizer_bytes` of `texts`.

    Raises:
        DataError: The text is too little for the vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_take_bytes(texts, recipe.tokenizer_bytes), trainer)
    if tokenizer.get_vocab_size() < recipe.vocabulary:
        raise DataError(
            f"The text yields {tokenizer.get_vocab_size():,} BPE tokens, fewer than the vocabulary "
            f"of {recipe.vocabulary:,}; give more text or lower base.vocabulary."
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SEPARATOR,
        bos_token=SEPARATOR,
        pad_token=SEPARATOR,
        model_max_length=recipe.context,
    )


def _take_bytes(texts: Iterable[str], size: int) -> Iterator[str]:
    taken = 0
    for text in texts:
        if taken >= size:
            return
        taken += len(text.encode())
        yield text


def build_model(
    recipe: BuiltBase, tokenizer: "PreTrainedTokenizerBase", seed: int
) -> "PreTrainedModel":
    """A model of the recipe's architecture with random weights drawn from `seed`.

    Raises:
        ModelError: transformers does not know the architecture, or refuses its configuration.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    fields: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": None} | special
    try:
        config = AutoConfig.for_model(recipe.architecture, **(fields | recipe.config))
        check_context(config, recipe.context)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except ModelError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"base: transformers cannot build a {recipe.architecture!r} from base.config "
            f"({str(error).splitlines()[0]}); mend its fields."
        ) from None
    return model


def load_model(
    path: str | Path, device: Device, *, revision: str | None = None
) -> "PreTrainedModel":
    """The causal language model at `path` (a folder or a hub id), from safetensors alone.

    Raises:
        ModelError: There is no such model, or its weights are not safetensors.
    """
    from transformers import AutoModelForCausalLM

    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=device.dtype,
            use_safetensors=True,
            trust_remote_code=False,
            revision=revision,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The model at {path} cannot be loaded ({str(error).strip().splitlines()[0]}); give a "
            "folder with config.json and safetensors weights, or a hub id."
        ) from None
    lacking = sorted(loaded["missing_keys"])
    if lacking:  # transformers would draw them at random, differently each time
        raise ModelError(
            f"The model at {path} lacks weights for {lacking[0]} ({len(lacking)} in all); save it "
            "whole, with its language-model head."
        )
    placed: PreTrainedModel = model.to(device.name)
    return placed


def find_folder(path: str | Path, *, revision: str | None = None) -> Path:
    """The folder of a model: the one given, or where a hub's copy lies on this machine.

    Raises:
        ModelError: There is no such folder and no such model on the hub.
    """
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(str(path), revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"The model at {path} cannot be found ({str(error).strip().splitlines()[0]}); give a "
            "folder with config.json and safetensors weights, or a hub id."
        ) from None


def load_tokenizer(path: str | Path, *, revision: str | None = None) -> "PreTrainedTokenizerBase":
    """The tokenizer beside the model at `path`.

    Raises:
        ModelError: There is none, or it has no end-of-text token to separate documents.
    """
    from transformers import AutoTokenizer

    folder = Path(path)
    if folder.is_dir() and not any(folder.glob("*token*")) and not any(folder.glob("*vocab*")):
        raise ModelError(
            f"The base at {path} has no tokenizer; save one beside it (tokenizer.save_pretrained)."
        )
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The tokenizer at {path} cannot be loaded ({str(error).strip().splitlines()[0]}); save "
            "one beside the model (tokenizer.save_pretrained)."
        ) from None
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer at {path} has no end-of-text token, which separates documents; set "
            "tokenizer.eos_token and save it again."
        )
    return tokenizer


def load_config(path: str | Path, *, revision: str | None = None) -> "PretrainedConfig":
    """The configuration of the model at `path`.

    Raises:
        ModelError: There is none.
    """
    from transformers import AutoConfig

    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            path, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The base at {path} has no configuration that transformers can read "
            f"({str(error).strip().splitlines()[0]}); give a model folder or a hub id."
        ) from None
    return config


def check_context(config: "PretrainedConfig", context: int) -> None:
    """Raises `ModelError` where sequences would be longer than the model has positions for."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if most is not None and context > most:
        raise ModelError(
            f"base.context is {context:,}, but the model has positions for {most:,}; lower "
            "base.context."
        )


def resolve_dtype(recipe: PretrainedBase | BuiltBase) -> str:
    """The type a base is loaded in: what the recipe says, or what its checkpoint says."""
    if isinstance(recipe, BuiltBase):
        return "float32"
    if recipe.dtype != "auto":
        return recipe.dtype
    told = load_config(recipe.path, revision=recipe.revision).get_text_config().dtype
    return "bfloat16" if str(told).endswith("bfloat16") else "float32"


def count_parameters(model: "PreTrainedModel") -> tuple[int, int]:
    """All parameters (tied ones once), and those outside the embeddings."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embeddings = {
        id(module.weight): module.weight.numel()  # tied ones are one object, on any device
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
        if module is not None
    }
    return total, total - sum(embeddings.values())


@dataclass(frozen=True)
class Step:
    """A learning rate and a batch, with the words that say where they come from."""

    learning_rate: float
    batch_tokens: int
    source: str


def resolve_step(training: Optimisation, non_embedding_parameters: int) -> Step:
    """The step of `training`; what it leaves out follows the Step Law."""
    rate = 1.79 * non_embedding_parameters**-0.713 * training.tokens**0.307
    batch = round(0.58 * training.tokens**0.571)
    given = training.learning_rate, training.batch_tokens
    law = f"Step Law (arXiv:2503.04715) at N={non_embedding_parameters:,}, D={training.tokens:,}"
    sources = [
        f"{what} from {'the recipe' if value is not None else law}"
        for what, value in zip(("learning rate", "batch"), given, strict=True)
    ]
    return Step(given[0] or rate, given[1] or batch, "; ".join(sources))
