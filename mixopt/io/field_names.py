"""Names by which tables and files call the id, the cost and the metrics of a run."""

import re
from typing import Literal

ID_COLUMNS = ("run_id", "run", "id", "trial", "name", "ID", "Name", "Run", "run_name", "uuid",
              "model", "number", "index")  # fmt: skip
"""Names of runs by priority; `number` is Optuna's. Case and marks do not count (`Run ID`, `sys/id`).
`index` comes last, as `reset_index()` writes positions, which may differ between two tables."""
COST_COLUMNS = ("cost", "gpu_hours", "flops", "tokens")
LOWER_WORDS = {"loss", "bpb", "ppl", "perplexity", "nll", "bits", "error", "errors", "err", "entropy",
               "wer", "mse", "rmse"}  # fmt: skip
HIGHER_WORDS = {"acc", "accuracy", "em", "f1", "pass@1", "score", "bleu", "rouge", "rougel"}
KNOWN = LOWER_WORDS | HIGHER_WORDS
NEGATIONS = {"neg", "negative", "minus", "negated"}
"""Words of a metric with the other sign (`neg_loss`)."""
ONE_MINUS = re.compile(r"(?:^|/|(?<!top)\.)1\s?[-\u2212]\s?(?=([a-z0-9@]+))")
"""`1-acc`, the other sign too; `top.1-acc` and `1-shot` are not."""
VAGUE = "score"
"""Says that a number is a metric, and which way only where no other word does (`loss_score`)."""
CHANGES = {"gain", "gains", "improvement", "reduction", "drop", "gap", "delta"}
"""Words after a metric that make it a difference, whose sign may be either (`loss_gain`)."""
BENCHMARKS = {"drop", "gap"}
"""Those of them that are names of benchmarks too, in a path (`acc/drop`)."""


def plain_name(name: str) -> str:
    """Return a name without case, marks and the prefix `sys/`.

    Args:
        name: Of a column.
    """
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("sys/"))


def is_id(name: str, id_column: str | None = None) -> bool:
    """Return whether a column is called as ids are.

    Args:
        name: Of the column.
        id_column: Name that the user gives.
    """
    return name == id_column or plain_name(name) in map(plain_name, ID_COLUMNS)


def is_metric_name(name: str) -> bool:
    """Return whether a name has a well-known word of metrics, whichever way is better.

    Args:
        name: Of a column or a field (`eval/acc`, `valLoss`).
    """
    return not KNOWN.isdisjoint(_split(name))


def is_vague_name(name: str) -> bool:
    """Return whether a name says that a column is a metric, and which way is better only by `score`.

    Args:
        name: Of a column or a field (`toxicity_score`).
    """
    return {word for word in _split(name) if word in KNOWN} == {VAGUE}


def direction_of_name(name: str) -> Literal["lower", "higher"] | None:
    """Return which way a metric is better by its name; None where the name does not tell.

    Args:
        name: Of a column or a field (`eval/acc`, `valLoss`).
    """
    words = _split(name)
    known = [word for word in words if word in KNOWN]
    if not known or _is_change(name):
        return None
    # the last word says what it is: acc_loss is a loss
    last = ([word for word in known if word != VAGUE] or known)[-1]
    negated = not NEGATIONS.isdisjoint(words) or not KNOWN.isdisjoint(
        ONE_MINUS.findall(name.lower())
    )
    return "lower" if (last in LOWER_WORDS) != negated else "higher"


def _split(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)  # valLoss
    return re.split(r"[^a-z0-9@]+|_", spaced.lower())


def _is_change(name: str) -> bool:
    """Return whether words after the metric make it a difference."""
    later: list[str] = []  # words of the parts of a path after that of the metric
    for part in reversed(name.split("/")):
        words = _split(part)
        if not KNOWN.isdisjoint(words):
            last = max(place for place, word in enumerate(words) if word in KNOWN)
            return not (
                CHANGES.isdisjoint(words[last:]) and (CHANGES - BENCHMARKS).isdisjoint(later)
            )
        later += words
    return False
