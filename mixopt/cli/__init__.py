"""The command line: one command per verb, over the same functions that Python users call."""

from mixopt.cli import exporting, merges, proposals, studies, texts
from mixopt.cli.shell import main

__all__ = ["exporting", "main", "merges", "proposals", "studies", "texts"]
