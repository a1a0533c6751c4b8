"""Names by which tables and files call the id, the cost and the metrics of a run."""

import re
from typing import Literal

ID_COLUMNS = ("run_id", "run", "id", "trial", "name", "ID", "Name", "Run", "run_name", "uuid",
              "model", "number", "index")  # fmt: skip
"""Names of runs by priority; `number` is Optuna's. Case and marks do not count (`Run ID`, `sys/id`).
`index` comes last, as `reset_index()` writes positions, which may differ between two tables."""
COST_COLUMNS = ("cost", "gpu_hours", "flops", "tokens")
LOWER_WORDS = {"loss", "bpb", "ppl", "perplexity", "nll", "bits", "error", "entropy"}
HIGHER_WORDS = {"acc", "accuracy", "em", "f1", "pass@1", "score", "bleu", "rouge", "rougel"}
NEGATIONS = {"neg", "negative", "minus", "negated"}
"""Words of a metric with the other sign (`neg_loss`)."""


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


def direction_of_name(name: str) -> Literal["lower", "higher"] | None:
    """Return which way a metric is better by its name; None for what is not named like a metric.

    Args:
        name: Of a column or a field (`eval/acc`, `valLoss`).
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)  # valLoss
    words = re.split(r"[^a-z0-9@]+|_", spaced.lower())
    known = [word for word in words if word in LOWER_WORDS | HIGHER_WORDS]
    if not known:
        return None
    # the last word says what it is: acc_loss is a loss
    lower = (known[-1] in LOWER_WORDS) != any(word in NEGATIONS for word in words)
    return "lower" if lower else "higher"
