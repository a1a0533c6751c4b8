"""Every error that mixopt raises on purpose.

    MixoptError                    exit code 1: the run failed
    ├── RunError
    │   ├── DivergedError          a training loss is not finite
    │   ├── UnreachableError       a store does not answer
    │   └── StorageError           the disk is full or cannot be written
    └── UserError                  exit code 2: the input can be fixed; a ValueError
        ├── ArgumentTypeError      an argument of the wrong type; a TypeError too
        ├── ConfigError            a YAML with an invalid value
        ├── DataError              text or benchmark items that cannot be read or used
        ├── ModelError             a base model or an expert that cannot be used
        ├── MixtureError           numbers that are not a mixture
        │   └── InfeasibleError    bounds that cannot all hold
        ├── TrialsError            a table of runs that cannot be used
        │   └── HoldoutError       a holdout score used to choose, or a search score as a result
        ├── ExportError            a proposal that cannot be written for a trainer
        │   └── MissingPathError   a domain without a path
        ├── OutputError            a path where no file can be written
        └── MissingExtraError      a package that an optional feature needs

A message is one sentence: the value, the rule it breaks and the remedy.
"""

import math
import operator
import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class MixoptError(Exception):
    """Base class; the CLI prints the message alone and exits with `exit_code`.

    The message hides credentials of URLs.
    """

    exit_code = 1

    def __str__(self) -> str:
        return hide_credentials(super().__str__())


class RunError(MixoptError):
    """The run failed although its input was valid."""


class DivergedError(RunError):
    """A training loss stopped being finite."""


class UnreachableError(RunError):
    """A store does not answer; a later attempt may succeed."""


class StorageError(RunError):
    """A file could not be written completely; no partial file is left under its name."""


class UserError(MixoptError, ValueError):
    """The input is invalid; a `ValueError`, so that pydantic validators may raise it."""

    exit_code = 2


class ArgumentTypeError(UserError, TypeError):
    """An argument has a type that the function does not take."""


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
    """A `role: holdout` score used to choose a mixture, or a `role: search` score as a result."""


class ExportError(UserError):
    """A proposal that cannot be written for this trainer."""


class MissingPathError(ExportError):
    """A domain without a path, for a trainer that needs one.

    Args:
        domain: Its name.
    """

    def __init__(self, domain: str) -> None:
        super().__init__(
            f"No path was given for domain {domain!r}; add it to paths (-p {domain}=PATH on the shell), "
            "or use one pattern with {domain}."
        )
        self.domain = domain


class OutputError(UserError):
    """A path where no file can be written, for example below a file instead of a folder."""


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
    "gguf": ("gguf",),
    "transport": ("ot",),
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
                message = f"This needs {package}; run: pip install 'mixopt[{extra}]'"
                return MissingExtraError(message)
    return error


MAX_LISTED = 40
"""Most names that a message lists."""
MAX_NAME = 60
"""Characters after which a listed name is cut."""
MAX_MESSAGE = 240
"""Characters after which another library's message is cut."""


CREDENTIALS = (
    # user:password@ of a URL, up to the last @ before the path: a password may hold one
    (re.compile(r"(?<=://)[^\s/?#]{0,512}@"), ""),
    # the same where the password holds / ? or #, which is told from a port by its first characters
    (re.compile(r"(?<=://)[^\s/?#@:\[]{0,512}:(?!\d{1,5}(?:[\s/?#'\",)]|$))\S{0,512}@"), ""),
    # ?token=..., also in the ODBC string of a database URL
    (
        re.compile(
            r"([?&;#][^\s=&?#;]{0,64}(?:token|passw|pwd|secret|key|sig|auth|credential|odbc)[^\s=&?#;]{0,64}=)"
            r"[^\s&#;\"'<>)]*",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
    (
        re.compile(r"(authorization['\"]?\s*[:=]\s*['\"]?)(?:\w+\s+)?[^\s'\"]+", re.IGNORECASE),
        r"\1***",
    ),
)
"""What hides credentials: a pattern, and what it is replaced by."""


def hide_credentials(text: str) -> str:
    """Return a text without passwords and tokens of URLs.

    Args:
        text: A message, a record or a value of a key.
    """
    if "://" in text or "=" in text or ":" in text:
        for pattern, replacement in CREDENTIALS:
            text = pattern.sub(replacement, text)
    return text


def one_line(error: BaseException, limit: int | None = MAX_MESSAGE) -> str:
    """Return the message of an error in one line, without credentials.

    Args:
        error: Its type's name stands for an empty message.
        limit: Characters after which the message is cut; None keeps all of it.
    """
    text = hide_credentials(" ".join(str(error).split())) or type(error).__name__
    return text if limit is None or len(text) <= limit else f"{text[:limit]}..."


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return a sentence with the closest of `known` names, or a list of them if none is close.

    Args:
        name: What was asked for; no `known` name.
        known: The names that exist.
    """
    names = sorted({str(one) for one in known})
    close = get_close_matches(str(name), names, n=1)
    if close:
        return f"Did you mean {close[0][:MAX_NAME]!r}?"
    more = f", and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    listed = ", ".join(" ".join(one.split())[:MAX_NAME] for one in names[:MAX_LISTED])
    return f"Known: {listed or 'none'}{more}."


def require_type(name: str, value: object, expected: type, remedy: str) -> None:
    """Check the type of an argument.

    Args:
        name: Name of the argument, for the message.
        value: What was passed.
        expected: Class that `value` must be an instance of.
        remedy: How to get one, as an imperative (`fit the trials with mixopt.fit`).

    Raises:
        ArgumentTypeError: `value` is not an `expected`.
    """
    if not isinstance(value, expected):
        raise ArgumentTypeError(
            f"{name} is a {type(value).__name__}, not a {expected.__name__}; {remedy}."
        )


def require_count(name: str, value: object, least: int) -> int:
    """Return an argument that counts something, as an integer.

    Args:
        name: Name of the argument, for the message.
        value: What was passed; an integer of NumPy is one too.
        least: Smallest count.

    Raises:
        ArgumentTypeError: `value` is no integer.
        UserError: It is smaller than `least`.
    """
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentTypeError(
            f"{name} is {_show(value)}; give a whole number of at least {least}."
        ) from None
    if count < least:
        raise UserError(f"{name} is {count}; give a whole number of at least {least}.")
    return count


def require_number(name: str, value: object) -> float:
    """Return an argument that is a finite number.

    Args:
        name: Name of the argument, for the message.
        value: What was passed; a number of NumPy is one too.

    Raises:
        ArgumentTypeError: `value` is no number.
        UserError: It is NaN or infinite.
    """
    try:
        if isinstance(value, str | bytes):  # a text that looks like a number is none
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{name} is {_show(value)}; give a number.") from None
    if not math.isfinite(number):
        raise UserError(f"{name} is {number:g}; give a finite number.")
    return number


def _show(value: object) -> str:
    """Return a number or a short text as it is, else its type, for a message."""
    shown = repr(value) if isinstance(value, str | bytes | int | float) else ""
    return shown if 0 < len(shown) <= MAX_NAME else f"a {type(value).__name__}"
