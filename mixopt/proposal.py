"""A proposal: a recommended mixture with predictions, intervals and comparisons.

Shapes: `d` domains, `m` metrics, `k` experts.
"""

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.comparison import Comparison, Support, Ties
from mixopt.decision import Decision
from mixopt.errors import ExportError, one_line
from mixopt.estimate import Estimate, read_estimates
from mixopt.io.files import write_text
from mixopt.io.parsing import load_json, show
from mixopt.mixture import Mixture, as_mixture
from mixopt.token_budget import Budget

log = logging.getLogger(__name__)

DIGEST = "digest"
"""Field of a written proposal by which later changes are noticed."""


@dataclass(frozen=True)
class Proposal:
    """A mixture that the surrogate recommends.

    Attributes:
        ratios: Ratios of tokens by domain (`d`).
        utility: Predicted utility; higher is better.
        predicted: Predicted score by metric (`m`), in the metric's units.
        comparisons: Comparisons with other mixtures. The first is with the natural mixture; if
            none was given, with the best run.
        weights: Weights by expert (`k`) that stand for `ratios`, if experts are merged.
        measured: Score by metric of the proposal's own merge, if it was verified.
        budget: Token budget of the target run and available tokens.
        tokens_per_document: Mean document length by domain, for trainers that draw documents.
        notes: Warnings for the reader.
        ties: Mixtures that cannot be distinguished from this one.
        support: Distance from the trials.
        errors: Predicted error of benchmarks with a loss-to-error law.
        decision: Whether to train on it, by what is known of real training; None where nothing is
            known of that, and for all proposals but the first.

    Raises:
        ArgumentTypeError: `ratios` is not a mixture, a dict or a Series.
    """

    ratios: Mixture
    utility: Estimate
    predicted: Mapping[str, Estimate]
    comparisons: tuple[Comparison, ...] = ()
    weights: Mapping[str, float] | None = None
    measured: Mapping[str, Estimate] | None = None
    budget: Budget | None = None
    tokens_per_document: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ties: Ties | None = None
    support: Support | None = None
    errors: Mapping[str, Estimate] = field(default_factory=dict)
    decision: Decision | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", as_mixture(self.ratios))

    @property
    def repetition(self) -> dict[str, float]:
        """Times that the target run reads a token, by domain whose available tokens are known."""
        return {} if self.budget is None else self.budget.count(self.ratios)

    @property
    def reference(self) -> tuple[str, Mixture | None]:
        """Name and ratios of the mixture that it is compared with; "" and None without one.

        It is the reference of the decision where there is one, else that of the first comparison.
        """
        if self.decision is not None:
            named = {comparison.name: comparison.ratios for comparison in self.comparisons}
            name = self.decision.reference
            return name, named.get(name, self.decision.kept)
        if not self.comparisons:
            return "", None
        return self.comparisons[0].name, self.comparisons[0].ratios

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the gain that `verdict` is about."""
        if self.decision is not None:
            return self.decision.gain.interval
        return self.comparisons[0].gain.interval if self.comparisons else self.utility.interval

    @property
    def is_advised(self) -> bool:
        """Whether the ratios are not those of a candidate that the decision sets aside."""
        decision = self.decision
        if decision is None or decision.moves or decision.alone:
            return True
        return self.ratios != decision.candidate

    @property
    def verdict(self) -> str:
        """The decision in words, or the first comparison where nothing was decided."""
        if self.decision is not None:
            about = (
                "" if self.is_advised else "this is the best other mixture, not the advised one: "
            )
            return f"{about}{self.decision.verdict}"
        return (
            self.comparisons[0].verdict if self.comparisons else "not compared with another mixture"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, with the verdicts and intervals for readers."""
        plain = asdict(self) | {"ratios": dict(self.ratios), "comparisons": []}
        if self.ties is not None:
            plain["ties"] |= {"examples": [dict(mixture) for mixture in self.ties.examples]}
        for comparison in self.comparisons:
            row = asdict(comparison) | {"ratios": dict(comparison.ratios)}
            derived = {"verdict": comparison.verdict, "chance": comparison.gain.chance}
            plain["comparisons"].append(row | derived)
        if self.decision is not None:
            chance = {"chance": self.decision.gain.chance}
            mixtures = {name: dict(getattr(self.decision, name)) for name in ("candidate", "kept")}
            runs = [asdict(run) | {"ratios": dict(run.ratios)} for run in self.decision.next_runs]
            plain["decision"] |= mixtures | chance | {"next_runs": runs}
        derived = {"repetition": self.repetition, "verdict": self.verdict}
        whole = plain | derived | {"interval": list(self.interval)}
        return whole | {DIGEST: _digest(whole)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Proposal":
        """Return the proposal that `to_dict` wrote.

        Args:
            plain: The fields, from an untrusted file.

        Raises:
            ValueError: A field is not a number, or a length or token count is not positive.
        """
        return cls(
            ratios=Mixture(plain["ratios"]),
            utility=Estimate.from_dict(plain["utility"]),
            predicted=read_estimates(plain["predicted"]),
            comparisons=tuple(map(Comparison.from_dict, plain["comparisons"])),
            weights=plain.get("weights"),
            measured=None if plain.get("measured") is None else read_estimates(plain["measured"]),
            budget=None if plain.get("budget") is None else Budget.from_dict(plain["budget"]),
            tokens_per_document=_numbers(plain.get("tokens_per_document", {})),
            notes=tuple(plain.get("notes", ())),
            ties=None if plain.get("ties") is None else Ties.from_dict(plain["ties"]),
            support=None if plain.get("support") is None else Support.from_dict(plain["support"]),
            errors=read_estimates(plain.get("errors", {})),
            decision=None
            if plain.get("decision") is None
            else Decision.from_dict(plain["decision"]),
        )

    @classmethod
    def read(cls, path: str | Path) -> "Proposal":
        """Return the proposal in a JSON file that `write` or a study wrote.

        Args:
            path: The file (`proposal.json`).

        Raises:
            ExportError: The file does not exist or is not a proposal.
        """
        file = Path(path)
        if not file.is_file():
            what = "is a folder" if file.is_dir() else "does not exist"
            raise ExportError(f"{file} {what}; give the proposal.json of a study.")
        try:
            plain = load_json(file.read_text(encoding="utf-8-sig"))  # of Notepad
            proposal = cls.from_dict(plain)
            warn_if_edited(plain, str(file))
            return proposal
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise ExportError(
                f"{file} is not a proposal that mixopt wrote ({one_line(error)}); give a proposal.json."
            ) from None

    @classmethod
    def from_mlflow(cls, run: Any, tracking_uri: str | None = None) -> "Proposal":
        """Return the proposal that a study, or `mixopt propose`, has logged to MLflow.

        Args:
            run: Id of the run, or MLflow's `Run`.
            tracking_uri: The store; the one that MLflow is set to (`MLFLOW_TRACKING_URI`) if left out.

        Raises:
            UserError: There is no such run, it has no proposal, or its artifacts cannot be read.
            ExportError: What the run has is no proposal that mixopt wrote.
            MissingExtraError: MLflow is not installed.
        """
        import mixopt  # its public names are found on use: this module imports no MLflow

        return mixopt.read_mlflow_proposal(run, tracking_uri)

    def write(self, path: str | Path) -> Path:
        """Write the proposal as JSON, which `read` and `mixopt export` take.

        Args:
            path: The file; folders above it are created.

        Returns:
            The path of the file.

        Raises:
            OutputError: The file cannot be written.
        """
        return write_text(Path(path), self.to_json())

    def to_json(self) -> str:
        """Return the proposal as JSON text; NaN, which JSON lacks, is written as null."""
        return json.dumps(_without_nan(self.to_dict()), indent=2, default=_plain) + "\n"

    def __repr__(self) -> str:
        inside = ", ".join(f"{domain}: {ratio:.4g}" for domain, ratio in self.ratios.items())
        return f"Proposal({inside}; {self.verdict})"

    def _repr_html_(self) -> str:
        import pandas as pd

        columns = {"proposal": self.ratios} | {c.name: c.ratios for c in self.comparisons}
        table = pd.DataFrame({name: dict(ratios) for name, ratios in columns.items()})
        if self.repetition:
            table["repetitions"] = pd.Series(self.repetition)
        said = [c.verdict for c in self.comparisons]
        if self.decision is not None:
            others = [
                f"{'merges, ' if c.measured_gain is not None else ''}against {c.name}: {c.difference}"
                for c in self.comparisons
            ]
            known = self.decision.equivalent, self.decision.horizon
            said = [self.verdict, *filter(None, known), *others]
        verdicts = "".join(f"<li>{escape(text)}</li>" for text in said)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        html = table.reindex(list(self.ratios)).to_html(float_format="{:.4g}".format, na_rep="")
        return f"<b>Proposal</b>{html}<ul>{verdicts}{notes}</ul>"


def warn_if_edited(plain: Mapping[str, Any], where: str) -> None:
    """Log a warning where a proposal is not as mixopt wrote it; earlier versions wrote no digest.

    Args:
        plain: The fields, from a file.
        where: Its place, for the message.
    """
    if DIGEST in plain and plain[DIGEST] != _digest(plain):
        log.warning(
            "%s was changed after mixopt wrote it: its predictions, intervals and verdict are those of "
            "what was computed, not of what it says now.", where,
        )  # fmt: skip


def _digest(plain: Mapping[str, Any]) -> str:
    fields = {name: value for name, value in plain.items() if name != DIGEST}
    text = json.dumps(_without_nan(json.loads(json.dumps(fields, default=_plain))), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _numbers(plain: Mapping[str, Any]) -> dict[str, float]:
    for name, value in plain.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value < math.inf:
            raise ValueError(f"{show(name)} has {show(value)} tokens per document")
    return {name: float(value) for name, value in plain.items()}


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python, for JSON."""
    if isinstance(value, np.generic):
        return _without_nan(value.item())
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
