"""Versions of the code that makes artifacts, which are part of the artifacts' keys.

Raise the version of a package when its code gives other results for the same config, data and seed. Its
artifacts, and those that depend on them, are then made again and no others. A test compares the code of
each package with a record, so that no change goes unnoticed. mixopt's own version is in no key.
"""

from collections.abc import Mapping

VERSIONS: Mapping[str, int] = {
    "baselines": 4, "data": 3, "training": 3, "merging": 1, "evaluation": 6, "surrogates": 13,
    "optimization": 7, "exporters": 5, "pipeline": 15, "types": 4,
}  # fmt: skip
"""Version by package; `types` are the modules directly in `mixopt/`."""

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "fingerprints": ("data",),
    "tokenizers": ("data",),
    "corpora": ("data",),
    "splits": ("data", "evaluation"),
    "overlap": ("data", "evaluation"),
    "base": ("training",),
    "bases": ("training",),
    "experts": ("training",),
    "runs": ("training",),
    "proxy-runs": ("training", "evaluation"),
    "renamed": ("merging", "evaluation"),
    "engines": ("merging", "evaluation"),
    "logprobs": ("merging", "evaluation"),
    "scores": ("merging", "evaluation"),
    "slopes": ("merging", "evaluation"),
    "estimates": ("merging", "evaluation"),
    "online": ("baselines", "training", "evaluation"),
    "text-samples": ("evaluation", "pipeline"),
    "text-distances": ("baselines", "pipeline"),
    "recommendations": ("baselines", "surrogates", "optimization", "pipeline"),
    "objectives": ("surrogates", "optimization", "pipeline"),
    "fits": ("surrogates", "optimization", "pipeline", "types"),
    "proposals": ("surrogates", "optimization", "pipeline", "types"),
    "exports": ("exporters", "pipeline", "types"),
    "inputs": ("pipeline",),
}
"""Packages that make the artifacts of a kind. Their inputs are in their keys already."""

CODE = "code"
"""Field of a key that holds the versions."""


def code_of(kind: str) -> dict[str, int]:
    """Look up the versions of the code that makes artifacts of a kind.

    Args:
        kind: Of an artifact; other kinds than those in `PACKAGES` depend on no code.

    Returns:
        Version by package, a part of the key.
    """
    return {package: VERSIONS[package] for package in PACKAGES.get(kind, ())}
