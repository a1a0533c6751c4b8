"""Paths of domains for a trainer: one each, or several, among which a domain's share is split."""

import os
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any, TypeAlias

from mixopt.errors import ExportError, did_you_mean
from mixopt.io.globs import expand_glob
from mixopt.io.parsing import show

Paths: TypeAlias = Mapping[str, str | os.PathLike[str] | Sequence[str]] | str | None
"""Path, or list of paths, by domain; or one pattern with `{domain}` (several with commas between)."""
PathsByDomain: TypeAlias = Mapping[str, str | tuple[str, ...]]
PLACEHOLDER = "{domain}"
ENDINGS = (".bin", ".idx")
"""Of the two files that Megatron names by one prefix."""


def resolve_paths(paths: Paths, domains: Sequence[str]) -> dict[str, str | tuple[str, ...]]:
    """Return the path or paths of each domain that has some.

    Args:
        paths: As a user gives them.
        domains: The `d` domains.

    Raises:
        ExportError: A domain is unknown, a path is none, or two domains share one.
    """
    if isinstance(paths, str | os.PathLike):
        pattern = os.fspath(paths)
        parts = pattern.split(",")
        if not all(PLACEHOLDER in part for part in parts):
            parts = [pattern]
        if PLACEHOLDER not in pattern:
            raise ExportError(f"The path pattern {pattern!r} lacks {{domain}}; add it.")
        filled = {d: tuple(part.replace(PLACEHOLDER, d) for part in parts) for d in domains}
        return {domain: one[0] if len(one) == 1 else one for domain, one in filled.items()}
    if not isinstance(paths, Mapping | None):
        raise ExportError(
            f"paths is {show(paths)}; give a mapping of domains to paths or one pattern with {{domain}}."
        )
    resolved: dict[str, str | tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for domain, given in (paths or {}).items():
        if domain not in domains:
            hint = did_you_mean(domain, domains)
            raise ExportError(f"Paths name {domain!r}, which is no domain of this proposal. {hint}")
        several: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
        if not several or not all(
            isinstance(p, str | os.PathLike) and os.fspath(p) for p in several
        ):
            raise ExportError(f"The path of {domain!r} is {show(given)}; give a path.")
        names = [os.fspath(path) for path in several]
        for path in names:
            if path in owners:
                if owners[path] == domain:
                    raise ExportError(f"The paths of {domain!r} name {path!r} twice; name it once.")
                raise ExportError(
                    f"{owners[path]!r} and {domain!r} have one path, {path!r}; give each domain its own."
                )
            owners[path] = domain
        resolved[domain] = names[0] if len(names) == 1 else tuple(names)
    return resolved


def expand_globs(paths: Sequence[str], domain: str) -> list[str]:
    """Return the paths with each glob replaced by what it matches here.

    Args:
        paths: Paths of one domain. Of Megatron's pairs of files the common prefix is taken.
        domain: Its name, for the message.

    Raises:
        ExportError: A glob matches nothing.
    """
    found: dict[str, None] = {}
    for path in paths:
        names = [path + ending for ending in ("", *ENDINGS)]
        if not has_magic(path) or any(map(os.path.lexists, names)):  # its name has marks of globs
            found[path] = None
            continue
        matched = [name for pattern in names for name in expand_glob(pattern)]
        if not matched:
            raise ExportError(
                f"The path of {domain!r}, {path!r}, matches nothing on this machine, and this trainer "
                "expands no globs; list its paths with commas between."
            )
        found |= {_prefix(name): None for name in sorted(matched)}
    return list(found)


def _prefix(name: str) -> str:
    path = Path(name)
    pair = [path.with_suffix(ending) for ending in ENDINGS]
    return (
        str(path.with_suffix(""))
        if path.suffix in ENDINGS and all(map(Path.exists, pair))
        else name
    )


def measure_bytes(path: str) -> int | None:
    """Return the bytes of a trainer's data on this machine; None if it is not here.

    Args:
        path: A file, a folder, or the prefix of `PREFIX.bin`.
    """
    place = Path(path)
    file = place if place.is_file() else Path(f"{path}.bin")
    if file.is_file():
        return file.stat().st_size
    if place.is_dir():
        return sum(inner.stat().st_size for inner in place.rglob("*") if inner.is_file())
    return None


def split_by_size(paths: Sequence[str]) -> tuple[dict[str, float], bool]:
    """Return what share of a domain each of its paths gets.

    Args:
        paths: Paths of one domain (`p`).

    Returns:
        Shares (`p`, sum 1) by path, in proportion to their bytes where all of them are on this machine,
        else equal; and whether they are by size.
    """
    sizes = [measure_bytes(path) for path in paths]
    known = [size for size in sizes if size is not None]
    total = sum(known)
    if len(known) == len(paths) and total:
        return {path: size / total for path, size in zip(paths, known, strict=True)}, True
    return dict.fromkeys(paths, 1 / len(paths)), False


def find_splits(paths: Paths, domains: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return what an export depends on besides its plan: globs and sizes of files on this machine.

    Args:
        paths: As a user gives them.
        domains: The `d` domains.

    Returns:
        Shares by path, for each domain with several paths or a glob; the glob itself where it matches
        nothing here.

    Raises:
        ExportError: As `resolve_paths`.
    """
    splits = {}
    for domain, given in resolve_paths(paths, domains).items():
        listed = [given] if isinstance(given, str) else list(given)
        try:
            found = expand_globs(listed, domain)
        except ExportError:
            found = listed
        if len(found) > 1 or found != listed:
            splits[domain] = split_by_size(found)[0]
    return splits
