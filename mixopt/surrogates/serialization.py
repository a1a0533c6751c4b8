"""Keeping: a surrogate on disk, and back to the last digit.

It is kept by skops, which writes arrays and plain values and calls nothing that the file names: a study
that somebody sends holds no code. Nothing but mixopt's own laws is accepted; trees are fitted again.
"""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from mixopt.errors import StorageError
from mixopt.io.parsing import tell
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trials

FILE = "surrogate.skops"
MOST_SWELL = 100
"""Times its size that a file unpacks to; ours are at 7."""
OURS = ("mixopt.surrogates.", "mixopt.trials.")
"""Where the classes and functions are that a surrogate is made of."""


def save_surrogate(surrogate: Surrogate, folder: Path) -> None:
    """Writes a surrogate into `folder`, without the trials that it was fitted to."""
    import skops.io  # which loads all of scikit-learn, and torch where that is installed

    bare = replace(surrogate, trials=None)  # type: ignore[arg-type]
    # most of it is the description of its parts, which shrinks to a sixth in no time
    skops.io.dump(bare, folder / FILE, compression=ZIP_DEFLATED, compresslevel=1)


def load_surrogate(folder: Path, trials: Trials) -> Surrogate:
    """The surrogate in `folder`, which was fitted to `trials`.

    Raises:
        StorageError: The file holds something that is no part of a surrogate.
    """
    import skops.io

    file = folder / FILE
    try:
        with ZipFile(file) as packed:
            if sum(part.file_size for part in packed.infolist()) > MOST_SWELL * file.stat().st_size:
                raise ValueError("it swells to more than anybody wrote")
        named = skops.io.get_untrusted_types(file=file)
        strange = [name for name in named if not _is_ours(name)]
        if strange:
            raise ValueError(f"it holds {strange[0]}")
        found = skops.io.load(file, trusted=named)
        whole: Surrogate = replace(found, trials=trials.at(found.fidelities[-1].level))
        whole.predict_utility(whole.trials.ratios()[:1])  # its parts fit together
    except Exception as error:  # what we wrote is read; what somebody made up may fail in any way
        raise StorageError(
            f"{file} is no surrogate of ours ({tell(error)}); remove its folder and run again."
        ) from error
    return whole


def _is_ours(name: str) -> bool:
    """Whether a name is that of something defined in the number wing, not only reached through it."""
    module, _, own = name.rpartition(".")
    if not f"{module}.".startswith(OURS):
        return False
    try:
        return getattr(getattr(import_module(module), own), "__module__", None) == module
    except (ImportError, AttributeError):
        return False
