"""The tracker: an observer that writes down what MLflow is to be told; a sender tells it."""

import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
from mlflow.tracking.context.registry import resolve_tags

from mixopt.callbacks.base import Callback, TrainedModel
from mixopt.callbacks.mlflow.names import flatten, metric_key, name_metrics
from mixopt.callbacks.mlflow.queue import Session
from mixopt.callbacks.mlflow.sender import (
    FOLDER,
    Sender,
    hide_password,
    hurry,
    now_ms,
    tracking_uri,
)
from mixopt.config.study import StudyConfig
from mixopt.errors import UserError
from mixopt.proposal import Proposal
from mixopt.trials import DomainCount, Trials
from mixopt.validation import Validation

log = logging.getLogger(__name__)

FIRST_WAIT_S = 5.0
"""How long a command waits at its start to learn whether MLflow can be reached."""


class MlflowCallback(Callback):
    """Logs a study to MLflow as it is watched.

    Inside `mlflow run` it re-attaches to the run that MLflow started; else it starts one in the
    experiment named after the study. What a server does not take now is kept in the study's folder
    and sent later: by this command, the next one, or `mixopt sync`.

    Raises:
        UserError: The tracking store can never be used.
    """

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._runs: list[str] = []
        """Open runs, by our names; the last is the innermost."""
        self._output = Path()
        self._session: Session | None = None
        self._sender: Sender | None = None

    def study_started(self, recipe: StudyConfig, output: Path) -> None:
        """Opens the parent run, or a child of it for a phase, and logs the resolved recipe."""
        active = mlflow.active_run()
        attached = os.environ.get("MLFLOW_RUN_ID") if not self._runs and active is None else None
        given = attached or None
        parent = self._runs[-1] if self._runs else None if active is None else active.info.run_id
        if not self._runs:
            hurry()
            self._output = output
            left = Session.left_in(output / FOLDER)
            self._session = Session.begin(output / FOLDER, {"uri": hide_password(tracking_uri())})
            self._sender = Sender([*left, self._session])
        name = recipe.name if parent is not None else self._verb
        tags = {} if given else resolve_tags()
        tags |= {"mixopt.study": recipe.name, "mixopt.verb": self._verb}
        self._open(name, parent=parent, experiment=recipe.name, tags=tags, given=given)
        if len(self._runs) == 1:
            assert self._sender is not None
            assert self._session is not None
            try:
                self._sender.meet(FIRST_WAIT_S)
            except UserError:
                self._session.remove()  # nothing was done yet that is worth keeping
                raise
            if self._sender.away is not None:
                log.warning(
                    "MLflow at %s does not answer; what is to be logged waits in %s and is sent when "
                    "it does.", hide_password(tracking_uri()), output / FOLDER,
                )  # fmt: skip
        plain = recipe.model_dump(mode="json")
        params = flatten({k: v for k, v in plain.items() if k not in ("experts", "benchmarks")})
        self._batch(params=params | {"domains": ", ".join(recipe.domains)})
        self._text(_as_yaml(plain), "recipe.yaml")

    def domains_counted(self, counts: Sequence[DomainCount]) -> None:
        """One dataset per domain, and its counts as metrics."""
        for count in counts:
            if count.content:
                self._add("data", name=count.domain, digest=count.content[:32])
        self._batch({f"corpus/tokens/{c.domain}": float(c.tokens) for c in counts})
        self._text(json.dumps({c.domain: asdict(c) for c in counts}, indent=2), "domains.json")

    def model_trained(self, model: TrainedModel) -> None:
        """A child run with parameters, results and loss curve."""
        name = f"{model.kind} {model.name}"
        run = self._open(name, parent=self._runs[-1], tags={"mixopt.kind": model.kind})
        curve = [("loss", loss, 0, step) for step, loss in model.losses]
        results = [
            (metric_key(name), value, 0, 0)
            for name, value in model.metrics.items()
            if value == value
        ]
        self._add(
            "batch", metrics=curve + results, params=flatten(model.params),
            tags={"mixopt.failure": model.failure} if model.failure else {},
        )  # fmt: skip
        self._close(run, failed=bool(model.failure))

    def round_scored(self, number: int, trials: Trials, metrics: Mapping[str, float]) -> None:
        """The round's metrics at step `number`, and the table of all candidates so far."""
        kept = {metric_key(name): value for name, value in metrics.items() if value == value}
        self._batch(kept, step=number)
        self._text(trials.to_frame().to_csv(index=False), "trials.csv")

    def proposed(self, proposals: Sequence[Proposal]) -> None:
        """The first proposal's ratios and gains."""
        self._batch(name_metrics(proposals[0]), tags={"mixopt.verdict": proposals[0].verdict})

    def validated(self, validation: Validation) -> None:
        """Fidelity by proxy and metric."""
        values = {
            f"fidelity/{row.proxy}/{row.name}": row.spearman
            for row in validation.fidelities
            if row.spearman == row.spearman
        }
        self._batch({metric_key(key): value for key, value in values.items()})

    def written(self, path: Path) -> None:
        """The file, or every file of the folder, as an artifact."""
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            inner = file.parent.relative_to(path.parent).as_posix() if path.is_dir() else ""
            place = os.path.relpath(file, self._output)
            self._add("file", file=place, to=inner or None)

    def study_ended(self, failure: BaseException | None) -> None:
        """Closes the run; the outermost one waits for the server to take what it was told."""
        if not self._runs:
            return  # it never began
        self._close(self._runs[-1], failed=failure is not None)
        if self._runs or self._sender is None:
            return
        waiting = self._sender.finish()
        if waiting:
            log.warning(
                "%d records for MLflow at %s wait in %s; send them with: mixopt sync %s",
                waiting, hide_password(tracking_uri()), self._output / FOLDER, self._output,
            )  # fmt: skip
        self._session = self._sender = None

    def _open(
        self,
        name: str,
        *,
        parent: str | None,
        tags: Mapping[str, str],
        experiment: str = "",
        given: str | None = None,
    ) -> str:
        run = secrets.token_hex(16)
        self._runs.append(run)
        self._add("run", id=given, name=name, parent=parent, experiment=experiment,
                  tags=dict(tags), time=now_ms())  # fmt: skip
        return run

    def _close(self, run: str, *, failed: bool) -> None:
        self._add("end", status="FAILED" if failed else "FINISHED", time=now_ms())
        self._runs.remove(run)

    def _batch(
        self,
        metrics: Mapping[str, float] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        # the time is that of the record, so that sending it again changes nothing
        points = [(metric_key(k), float(v), now_ms(), step) for k, v in (metrics or {}).items()]
        self._add("batch", metrics=points, params=dict(params or {}), tags=dict(tags or {}))

    def _text(self, text: str, path: str) -> None:
        self._add("text", text=text, path=path)

    def _add(self, what: str, **fields: Any) -> None:
        """Writes a record of the innermost run down, and lets the sender know."""
        assert self._session is not None
        assert self._sender is not None
        self._session.add({"do": what, "run": self._runs[-1], **fields})
        self._sender.wake()


def _as_yaml(plain: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(plain), sort_keys=False, allow_unicode=True)
