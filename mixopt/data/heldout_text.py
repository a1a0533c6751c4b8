"""Documents of a held-out text that a benchmark scores: of a large text they are spread over it."""

from collections.abc import Iterator
from itertools import chain, islice

from mixopt.config.text import (
    FilesTextConfig,
    HubTextConfig,
    MachineTextConfig,
    TextConfig,
    TokensTextConfig,
)
from mixopt.data.document import Document
from mixopt.data.hub_dataset import open_dataset
from mixopt.data.hub_sample import HubSample, find_hub_sample
from mixopt.data.sources import read_documents
from mixopt.data.text_files import list_files
from mixopt.data.text_sample import TextSample, find_sample
from mixopt.data.token_text import TokenText

LARGE_TOKENS = 1 << 22
"""Size in tokens from which a text is large, the least that a study reads of training text."""
ITEM_TOKENS, SEEN_PER_ITEM = 64, 4
"""Tokens per item by which parts are sized, and documents that are read for an item: where there are
enough parts, no two items are of one."""


def read_heldout(source: TextConfig, count: int | None) -> Iterator[Document]:
    """Yield at most `count` documents of a text.

    Args:
        source: The text. Of large files and datasets documents spread over all of them are read, unless
            its `tokens` is `all`; of a dataset that is streamed, those at the beginning of each shard.
        count: Number of documents; all of them, in order, if None.

    Raises:
        DataError: The text cannot be read.
    """
    if count is not None and is_large(source):
        seen = list(islice(_read_spread(source, ITEM_TOKENS * count), SEEN_PER_ITEM * count))
        first = {document.part: document for document in reversed(seen)}
        others = (document for document in seen if first[document.part] is not document)
        yield from islice(chain(reversed(first.values()), others), count)
    else:
        yield from islice(read_documents(source), count)


def is_large(source: TextConfig) -> bool:
    """Return whether some documents of a text are spread over it, and not its first ones.

    Args:
        source: The text.
    """
    if isinstance(source, MachineTextConfig) or source.tokens == "all":
        return False
    if isinstance(source, TokensTextConfig):
        return TokenText(source, None, seed=0).total > LARGE_TOKENS
    if isinstance(source, HubTextConfig):
        return find_hub_sample(source, LARGE_TOKENS, seed=0) is not None
    return find_sample(source, LARGE_TOKENS, seed=0) is not None


def _read_spread(source: TextConfig, tokens: int) -> Iterator[Document]:
    if isinstance(source, TokensTextConfig):
        return TokenText(source, tokens, seed=0).read()
    if isinstance(source, HubTextConfig):
        return HubSample(source, open_dataset(source), tokens, seed=0).read_all()
    assert isinstance(source, FilesTextConfig)
    return TextSample(source, list_files(source), tokens, seed=0).read_all()
