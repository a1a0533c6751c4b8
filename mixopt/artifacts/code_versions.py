"""Steps: the code that makes units of work, and which version of it a unit was made by.

A step's number rises when its code gives other results for the same recipe, data and seed; then what it
made, and all that stands on that, is made again, and nothing else is. mixopt's own version is in no key.
A test holds the code of each step against what it was when its number was given.
"""

from collections.abc import Mapping

STEPS: Mapping[str, int] = {
    "tokenizing": 1,
    "training": 1,
    "merging": 1,
    "scoring": 1,
    "estimating": 1,
    "fitting": 1,
    "proposing": 1,
    "exporting": 1,
    "staging": 1,
}
"""Version of each step."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "tokenizers": ("tokenizing",),
    "corpora": ("tokenizing",),
    "overlap": ("tokenizing", "scoring"),
    "base": ("training",),
    "bases": ("training",),
    "experts": ("training",),
    "proxy-runs": ("training", "scoring"),
    "renamed": ("merging",),
    "engines": ("merging", "scoring"),
    "logprobs": ("merging", "scoring"),
    "scores": ("merging", "scoring"),
    "slopes": ("merging", "scoring"),
    "estimates": ("merging", "scoring", "estimating"),
    "fits": ("fitting",),
    "proposals": ("fitting", "proposing"),
    "exports": ("exporting",),
    "inputs": ("staging",),
}
"""The steps whose code makes units of a kind; what they stand on is in their keys by itself."""

CODE = "code"
"""Field of a unit's key that holds the versions."""


def code_of(kind: str) -> dict[str, int]:
    """The version of each step that makes units of `kind`; none of a kind that no step makes."""
    return {step: STEPS[step] for step in KINDS.get(kind, ())}
