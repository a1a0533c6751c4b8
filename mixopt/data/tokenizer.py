"""Tokenizers: trained on a study's own text, or loaded from beside a model."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.config.training import BuiltBaseConfig
from mixopt.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEPARATOR = "<|endoftext|>"


def build_tokenizer(texts: Iterable[str], recipe: BuiltBaseConfig) -> "PreTrainedTokenizerBase":
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
