"""MLflow: the only module that imports it. A study is an experiment; a verb on it is a parent run.

Experts and proxy runs are child runs; candidates are rows of one table. Workers return results and
this process alone logs them.
"""

import json
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric as MlflowMetric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from mixopt.errors import UserError
from mixopt.proposal import Proposal
from mixopt.recipe import StudyRecipe
from mixopt.runtime.observer import Observer, TrainedModel
from mixopt.trials import DomainCount, Trials
from mixopt.validation import Validation

log = logging.getLogger(__name__)

LONGEST_PARAM = 500


def log_proposals(proposals: Sequence[Proposal], files: Sequence[Path]) -> None:
    """Ratios, gains and files of proposals from a table, in the run that `mlflow run` has opened.

    Raises:
        UserError: The run cannot be written.
    """
    client, run = MlflowClient(), os.environ["MLFLOW_RUN_ID"]
    try:
        for key, value in _proposal_metrics(proposals[0]).items():
            client.log_metric(run, key, value)
        client.set_tag(run, "mixopt.verdict", proposals[0].verdict)
        client.set_tag(run, "mixopt.verb", "propose")
        for file in files:
            client.log_artifact(run, str(file))
    except MlflowException as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"The MLflow run {run} cannot be written ({told}); mend the store."
        ) from None


def _proposal_metrics(proposal: Proposal) -> dict[str, float]:
    values = {f"proposal/ratio/{name}": ratio for name, ratio in proposal.ratios.items()}
    for comparison in proposal.comparisons:
        name = comparison.name.replace(" ", "_")
        low, high = comparison.gain.interval
        values[f"proposal/gain_over_{name}"] = comparison.gain.mean
        values[f"proposal/gain_over_{name}_low"] = low
        values[f"proposal/gain_over_{name}_high"] = high
    return {_metric_key(key): value for key, value in values.items()}


def read_runs(experiment: str) -> "pd.DataFrame":
    """The finished runs of an MLflow experiment, one row each, for `mixopt.read_trials(runs=...)`.

    Columns are the runs' parameters and metrics by their own names; `run_id` names the run. Ratios
    are parameters (or metrics) such as `ratio/web`.

    Raises:
        UserError: There is no such experiment, or it has no finished runs.
    """
    if mlflow.get_experiment_by_name(experiment) is None:
        raise UserError(
            f"MLflow has no experiment {experiment!r} at {mlflow.get_tracking_uri()}; mend the name, "
            "or set MLFLOW_TRACKING_URI."
        )
    frame = mlflow.search_runs(experiment_names=[experiment], filter_string="status = 'FINISHED'")
    if not len(frame):
        raise UserError(f"The MLflow experiment {experiment!r} has no finished runs; make some.")
    kept = [c for c in frame.columns if c.startswith(("params.", "metrics."))]
    table = frame[["run_id", *kept]].copy()
    for column in kept:
        # parameters are text in MLflow
        numbers = pd.to_numeric(table[column], errors="coerce")
        if numbers.notna().any():
            table[column] = numbers
    return table


class MlflowTracker(Observer):
    """Logs a study to MLflow as it is watched.

    Inside `mlflow run` it re-attaches to the run that MLflow started; else it starts one in the
    experiment named after the study.

    Raises:
        UserError: The tracking store cannot be opened.
    """

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._client: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        """The client of the tracking store."""
        if self._client is None:
            self._client = MlflowClient()
        return self._client

    def study_started(self, recipe: StudyRecipe, output: Path) -> None:
        """Opens the parent run and logs the resolved recipe."""
        within = mlflow.active_run() is not None  # a phase of a study that is being watched
        attached = "MLFLOW_RUN_ID" in os.environ
        try:
            if not (within or attached):
                mlflow.set_experiment(recipe.name)
            name = None if attached else recipe.name if within else self._verb
            mlflow.start_run(run_name=name, nested=within)
        except MlflowException as error:
            raise UserError(
                f"MLflow's store at {mlflow.get_tracking_uri()} cannot be opened "
                f"({str(error).splitlines()[0]}); mend MLFLOW_TRACKING_URI."
            ) from None
        mlflow.set_tags({"mixopt.study": recipe.name, "mixopt.verb": self._verb})
        plain = recipe.model_dump(mode="json")
        mlflow.log_params(
            _flatten({k: v for k, v in plain.items() if k not in ("experts", "benchmarks")})
        )
        mlflow.log_param("domains", ", ".join(recipe.domains))
        mlflow.log_dict(plain, "recipe.yaml")

    def domains_counted(self, counts: Sequence[DomainCount]) -> None:
        """One dataset per domain, and its counts as metrics."""
        with warnings.catch_warnings():
            # MLflow asks itself which of its own source classes fits, and warns of the tie
            warnings.simplefilter("ignore", UserWarning)
            for count in (count for count in counts if count.content):
                dataset = MetaDataset(  # type: ignore[abstract]
                    _TextSource(count.domain), name=count.domain, digest=count.content[:32]
                )
                mlflow.log_input(dataset, context="training")
        mlflow.log_metrics({f"corpus/tokens/{c.domain}": float(c.tokens) for c in counts})
        mlflow.log_dict({c.domain: asdict(c) for c in counts}, "domains.json")

    def model_trained(self, model: TrainedModel) -> None:
        """A child run with parameters, results and loss curve."""
        parent = mlflow.active_run()
        assert parent is not None
        run = self.client.create_run(
            parent.info.experiment_id,
            run_name=f"{model.kind} {model.name}",
            tags={"mlflow.parentRunId": parent.info.run_id, "mixopt.kind": model.kind},
        )
        identifier = run.info.run_id
        for key, value in _flatten(model.params).items():
            self.client.log_param(identifier, key, value)
        curve = [MlflowMetric("loss", loss, 0, step) for step, loss in model.losses]
        results = [
            MlflowMetric(_metric_key(name), value, 0, 0)
            for name, value in model.metrics.items()
            if value == value
        ]
        self.client.log_batch(identifier, metrics=curve + results)
        if model.failure:
            self.client.set_tag(identifier, "mixopt.failure", model.failure)
        self.client.set_terminated(identifier, "FAILED" if model.failure else "FINISHED")

    def round_scored(self, number: int, trials: Trials, metrics: Mapping[str, float]) -> None:
        """The round's metrics at step `number`, and the table of all candidates so far."""
        kept = {_metric_key(name): value for name, value in metrics.items() if value == value}
        mlflow.log_metrics(kept, step=number)
        mlflow.log_text(trials.to_frame().to_csv(index=False), "trials.csv")

    def proposed(self, proposals: Sequence[Proposal]) -> None:
        """The first proposal's ratios and gains."""
        mlflow.log_metrics(_proposal_metrics(proposals[0]))
        mlflow.set_tag("mixopt.verdict", proposals[0].verdict)

    def validated(self, validation: Validation) -> None:
        """Fidelity by proxy and metric."""
        values = {
            f"fidelity/{row.proxy}/{row.name}": row.spearman
            for row in validation.fidelities
            if row.spearman == row.spearman
        }
        mlflow.log_metrics({_metric_key(key): value for key, value in values.items()})

    def written(self, path: Path) -> None:
        """The file, or every file of the folder, as an artifact."""
        if path.is_dir():
            mlflow.log_artifacts(str(path), path.name)
        else:
            mlflow.log_artifact(str(path))

    def study_ended(self, failure: BaseException | None) -> None:
        """Closes the parent run."""
        if mlflow.active_run() is not None:
            mlflow.end_run("FAILED" if failure else "FINISHED")


class _TextSource(DatasetSource):
    """Text that a recipe names; what it names is in the logged recipe."""

    def __init__(self, domain: str) -> None:
        self.domain = domain

    @staticmethod
    def _get_source_type() -> str:
        return "mixopt"

    def load(self) -> None:
        """Nothing: the text stays where it lies."""

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "_TextSource":
        return cls(str(raw_source))

    def to_dict(self) -> dict[str, str]:
        """The name of the domain."""
        return {"domain": self.domain}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "_TextSource":
        """The source that `to_dict` described."""
        return cls(source_dict["domain"])


def _flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested fields as dotted parameters, long values cut (the recipe artifact is whole)."""
    flat: dict[str, str] = {}
    for key, value in plain.items():
        name = _metric_key(f"{prefix}{key}")
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{name}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[name] = text[:LONGEST_PARAM]
    return flat


def _metric_key(name: str) -> str:
    """A name that MLflow takes: letters, digits, and `_-. /:`."""
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in name)
