"""Machine text from a share of the standard library and of the packages, which is read sooner."""

from contextlib import contextmanager

import pytest

from mixopt.data import machine_text

CACHED = ("_deduplicated", "_standard_library", "_packages")


@contextmanager
def few_modules():
    """Each sixth module of the standard library, and fewer packages; caches are as before after."""
    list_modules = machine_text._list_modules
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_text, "_list_modules", lambda root: list_modules(root)[::6])
        patch.setattr(machine_text, "PACKAGE_BYTES", 800_000)
        patch.setattr(machine_text, "FILES_PER_PACKAGE", 10)
        for name in CACHED:
            getattr(machine_text, name).cache_clear()
        yield
    for name in CACHED:
        getattr(machine_text, name).cache_clear()
