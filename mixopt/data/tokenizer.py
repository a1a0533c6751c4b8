"""Tokenizers, trained on a study's text or loaded from a model's folder."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.config.training import BuiltBaseConfig
from mixopt.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEPARATOR = "<|endoftext|>"


def build_tokenizer(texts: Iterable[str], config: BuiltBaseConfig) -> "PreTrainedTokenizerBase":
    """Train a byte-level BPE tokenizer.

    Args:
        texts: Documents; about `config.tokenizer_bytes` of them are read.
        config: Sets vocabulary size and sequence length.

    Returns:
        Tokenizer of exactly `config.vocabulary` tokens.

    Raises:
        DataError: The text is too small for the vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_take_bytes(texts, config.tokenizer_bytes), trainer)
    if tokenizer.get_vocab_size() < config.vocabulary:
        raise DataError(
            f"The text yields {tokenizer.get_vocab_size():,} BPE tokens, fewer than the vocabulary "
            f"of {config.vocabulary:,}; give more text or lower base.vocabulary."
        )
    special = dict.fromkeys(("eos_token", "bos_token", "pad_token"), SEPARATOR)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=config.context, **special
    )


def _take_bytes(texts: Iterable[str], size: int) -> Iterator[str]:
    taken = 0
    for text in texts:
        if taken >= size:
            return
        taken += len(text.encode())
        yield text


def load_tokenizer(path: str | Path, *, revision: str | None = None) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model.

    Args:
        path: Folder or hub id of the model.
        revision: Revision of a hub id.

    Returns:
        A tokenizer with an end-of-text token.

    Raises:
        ModelError: There is none, or it has no end-of-text token to separate documents.
    """
    from transformers import AutoTokenizer

    folder = Path(path)
    if folder.is_dir() and not any(folder.glob("*token*")) and not any(folder.glob("*vocab*")):
        raise ModelError(
            f"The base at {path} has no tokenizer; save one beside it (tokenizer.save_pretrained)."
        )
    load = AutoTokenizer.from_pretrained
    try:
        tokenizer: PreTrainedTokenizerBase = load(path, revision=revision, trust_remote_code=False)
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
