"""Texts that follow from their key alone, remembered in the user's cache."""

import hashlib
import json
import logging
from collections.abc import Callable

from mixopt.io.content_hash import user_cache, write_cached

log = logging.getLogger(__name__)


def remember(kind: str, key: object, make: Callable[[], str]) -> str:
    """Return a text that was made before, here or by another process, or make it.

    Args:
        kind: Folder of such texts in the cache.
        key: Everything that determines the text, the versions of libraries included; plain JSON.
        make: Makes the text. Its errors pass, and nothing is remembered then.
    """
    plain = json.dumps(key, sort_keys=True)
    path = user_cache() / kind / hashlib.blake2b(plain.encode(), digest_size=16).hexdigest()
    try:
        digest, _, text = path.read_bytes().decode("utf-8").partition("\n")
        if digest == _digest(text):
            return text
    except (OSError, UnicodeDecodeError) as error:  # none yet, or damaged
        log.debug("No %s is remembered in %s: %s", kind, path, error)
    text = make()
    write_cached(path, f"{_digest(text)}\n{text}")
    return text


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
