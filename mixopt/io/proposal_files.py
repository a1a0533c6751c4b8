"""Names of the files that hold proposals: `proposal.json`, `proposal-2.json`, ..."""

import re
from pathlib import Path

from mixopt.io.files import storage_errors

NUMBERED = re.compile(r"proposal-(\d+)\.json")


def proposal_name(number: int) -> str:
    """Return the name of a proposal's file.

    Args:
        number: From 1, the best.
    """
    return "proposal.json" if number == 1 else f"proposal-{number}.json"


def remove_further_proposals(folder: Path, count: int) -> None:
    """Remove the files of an earlier command that proposed more.

    Args:
        folder: Of the results.
        count: Number of proposals that were written now.

    Raises:
        StorageError: The folder cannot be written.
    """
    for file in folder.glob("proposal-*.json"):
        number = NUMBERED.fullmatch(file.name)
        if number is not None and int(number[1]) > count:
            with storage_errors(file):
                file.unlink(missing_ok=True)  # another command may have removed it
