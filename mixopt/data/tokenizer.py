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


def start_token(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the token that a tokenizer itself puts before a text, beside the one that ends a text.

    A token that is named `bos_token` need not be one: that of a chat model may begin a turn. Documents
    of a model without a start token follow one another, each with the end-of-text token behind it.

    Returns:
        None where the tokenizer puts none there, or the one that ends a text.
    """
    begin = tokenizer.bos_token_id
    if begin is None or begin == tokenizer.eos_token_id:
        return None
    return int(begin) if _encode_a_letter(tokenizer)[:1] == [begin] else None


def _encode_a_letter(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the tokens of a text, special ones among them, and leave the tokenizer as it is."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return list(tokenizer("a", verbose=False)["input_ids"])
    # a call of the tokenizer would set truncation and padding, which are in its text
    encoding = backend.encode("a", add_special_tokens=False)
    processor = backend.post_processor
    return list((encoding if processor is None else processor.process(encoding)).ids)


def first_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the token that a model has read before the first one of a text.

    It is the start token, or else what ends the document before.
    """
    start = start_token(tokenizer)
    return int(tokenizer.eos_token_id) if start is None else start
