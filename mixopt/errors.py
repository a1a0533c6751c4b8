"""Every error that mixopt raises on purpose.

    MixoptError                  exit code 1: the run failed
    ├── RunError
    │   ├── DivergedError        a loss stopped being finite
    │   ├── UnreachableError     a store that does not answer now
    │   └── StorageError         the disk is full or cannot be written
    └── UserError                exit code 2: wrong input
        ├── ConfigError          a YAML that cannot be used
        ├── DataError            text or benchmark items that cannot be read or used
        ├── ModelError           a base or an expert that cannot be used
        ├── MixtureError         numbers that are no mixture
        │   └── InfeasibleError  bounds that cannot all hold
        ├── TrialsError          a table of runs that cannot be used
        │   └── HoldoutError     a holdout score that would choose, or a search score as a result
        ├── ExportError          a proposal that a trainer cannot be told
        ├── OutputError          a place where no file can be written
        └── MissingExtraError    a package that an optional feature needs

A message is one sentence: what is wrong, where, and what to do about it.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class MixoptError(Exception):
    """Root of the tree; the CLI prints the message alone and exits with `exit_code`."""

    exit_code = 1


class RunError(MixoptError):
    """The run failed although its input was right."""


class DivergedError(RunError):
    """A training loss stopped being finite."""


class UnreachableError(RunError):
    """A store that does not answer now; trying again may help."""


class StorageError(RunError):
    """A file could not be written whole; nothing half-written is left under its name."""


class UserError(MixoptError, ValueError):
    """The input is wrong; a `ValueError`, so that pydantic validators may raise it."""

    exit_code = 2


class ConfigError(UserError):
    """A study, expert or benchmark YAML that cannot be used."""


class DataError(UserError):
    """Text or benchmark items that cannot be read or are too few."""


class ModelError(UserError):
    """A base model or an expert that cannot be used."""


class MixtureError(UserError):
    """Numbers that are not a mixture: negative, not finite, or not summing to one."""


class InfeasibleError(MixtureError):
    """No mixture meets every bound; the message names the bounds in conflict."""


class TrialsError(UserError):
    """A table of runs that cannot be joined or fitted."""


class HoldoutError(TrialsError):
    """A score with `role: holdout` where mixtures are chosen, or one with `role: search` as a result."""


class ExportError(UserError):
    """A proposal that cannot be written for this trainer."""


class OutputError(UserError):
    """A place where no file can be written: a file stands where a folder should be, say."""


class MissingExtraError(UserError):
    """A package of an optional feature is not installed."""


EXTRAS = {
    "train": (
        "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "filelock",
        "fsspec", "psutil", "skops", "tqdm", "zstandard",
    ),
    "mlflow": ("mlflow",),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "eval": ("lm_eval",),
    "hub": ("datasets",),
}  # fmt: skip
"""Import names of the packages that each extra of pyproject.toml installs."""


def is_installed(package: str) -> bool:
    """Return whether `package` can be imported, without importing it."""
    try:
        return find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):  # blocked in sys.meta_path or sys.modules
        return False


def require_extra(extra: str, *packages: str) -> None:
    """Check that an extra is installed, without importing its packages.

    Args:
        extra: A key of `EXTRAS`.
        packages: The packages that are needed; all of the extra if left out.

    Raises:
        MissingExtraError: One of the packages is missing; the message has the command to install it.
    """
    for package in packages or EXTRAS[extra]:
        if not is_installed(package):
            raise MissingExtraError(f"This needs {package}; run: pip install 'mixopt[{extra}]'")


def explain_missing_extra(error: Exception) -> Exception:
    """Return a MissingExtraError if a package of an extra could not be imported, else `error`."""
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        for extra, packages in EXTRAS.items():
            if package in packages:
                return MissingExtraError(
                    f"This needs {package}; run: pip install 'mixopt[{extra}]'"
                )
    return error


NAMED = 40
"""Names that a message lists at most."""
LONGEST_NAME = 60
"""Characters of such a name that are repeated."""


def one_line(error: BaseException, limit: int | None = None) -> str:
    """Return an error's message in one line, cut to `limit` characters; its type where it has none."""
    return (" ".join(str(error).split()) or type(error).__name__)[:limit]


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """A sentence that names the closest of `known`, or lists them where none is close."""
    names = sorted({str(one) for one in known})
    close = get_close_matches(str(name), names, n=1)
    if close:
        return f"Did you mean {close[0][:LONGEST_NAME]!r}?"
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    told = ", ".join(" ".join(one.split())[:LONGEST_NAME] for one in names[:NAMED])
    return f"Known: {told or 'none'}{more}."
