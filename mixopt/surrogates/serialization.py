"""Store a fitted surrogate on disk, and read it back without loss.

skops stores arrays and plain values, and runs no code that a file names: a study from an untrusted
source can be read. Only classes of mixopt's own surrogates are accepted; trees are trained again.
"""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from mixopt.errors import StorageError, one_line
from mixopt.surrogates.surrogate import Surrogate
from mixopt.trials import Trials

FILE = "surrogate.skops"
MAX_INFLATION = 100  # largest ratio of unpacked to packed size; files of ours have 7
TRUSTED = ("mixopt.surrogates.", "mixopt.trial.")  # modules whose classes a file may name


def save_surrogate(surrogate: Surrogate, folder: Path) -> None:
    """Write a surrogate to disk, without the trials that it was fitted to.

    Args:
        surrogate: Fitted to `n` trials of `m` metrics.
        folder: An existing folder.
    """
    import skops.io  # here, because it imports all of scikit-learn, and torch where installed

    bare = replace(surrogate, trials=None, all_trials=None)  # type: ignore[arg-type]
    # most of the file is its schema, which level 1 compresses to a sixth at no cost
    skops.io.dump(bare, folder / FILE, compression=ZIP_DEFLATED, compresslevel=1)


def load_surrogate(folder: Path, trials: Trials) -> Surrogate:
    """Read the surrogate in `folder`.

    Args:
        folder: The folder that `save_surrogate` wrote into.
        trials: The `n` trials that it was fitted to.

    Raises:
        StorageError: The file is damaged, too large when unpacked, or names other classes.
    """
    import skops.io

    file = folder / FILE
    try:
        with ZipFile(file) as packed:
            size = sum(part.file_size for part in packed.infolist())
        if size > MAX_INFLATION * file.stat().st_size:
            raise ValueError(f"it unpacks to more than {MAX_INFLATION} times its size")
        names = skops.io.get_untrusted_types(file=file)
        foreign = [name for name in names if not _is_trusted(name)]
        if foreign:
            raise ValueError(f"it holds {foreign[0]}")
        bare = skops.io.load(file, trusted=names)
        levels = [fidelity.level for fidelity in bare.fidelities]
        fitted = Trials([t for t in trials if t.level in levels], trials.metrics, trials.domains)
        surrogate: Surrogate = replace(bare, trials=trials.at(levels[-1]), all_trials=fitted)
        surrogate.predict_utility(surrogate.trials.ratios()[:1])  # checks that the parts fit
    except Exception as error:  # an invented file may fail in any way
        raise StorageError(
            f"{file} is no surrogate of mixopt ({one_line(error)}); remove its folder and run again."
        ) from error
    return surrogate


def _is_trusted(name: str) -> bool:
    """Return whether a name is defined in a trusted module, not only imported there."""
    module, _, own = name.rpartition(".")
    if not f"{module}.".startswith(TRUSTED):
        return False
    try:
        return getattr(getattr(import_module(module), own), "__module__", None) == module
    except (ImportError, AttributeError):
        return False
