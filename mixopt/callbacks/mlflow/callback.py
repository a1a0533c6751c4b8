"""The callback that logs a study to MLflow."""

import json
import logging
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import yaml
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from mixopt.callbacks.base import Callback, DomainCount, ModelKind, RoundResult, TrainedModel
from mixopt.callbacks.mlflow.names import (
    PROPOSAL_FILE,
    PROPOSAL_TAG,
    describe_study,
    flatten,
    metric_key,
    now_ms,
    proposal_metrics,
    ratio_params,
    score_points,
    table_json,
    table_tag,
)
from mixopt.callbacks.mlflow.queue import RecordQueue
from mixopt.callbacks.mlflow.sender import FOLDER, Sender
from mixopt.callbacks.mlflow.system_metrics import SystemMetrics
from mixopt.callbacks.mlflow.tracking import fail_fast, require_own_store, tracking_uri
from mixopt.config.study import StudyConfig
from mixopt.errors import UserError, hide_credentials
from mixopt.proposal import Proposal
from mixopt.trial import Metric, Score

if TYPE_CHECKING:
    from mixopt.optimization.validation import Validation

log = logging.getLogger(__name__)

TRIALS = "trials.json"
"""The logged table of candidates."""
START_TIMEOUT_S = 5.0
"""How long a command waits at its start to learn whether MLflow can be reached."""


class MlflowCallback(Callback):
    """Logs a study to MLflow.

    A command is a run in the experiment named after the study, or continues the run that `mlflow run`
    started. Records that the server does not take stay in the study's folder and are delivered later:
    by this command, the next one, or `mixopt sync`.

    Args:
        command: Name of the command, which names the run.

    Raises:
        UserError: The tracking store can never be used.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._runs: list[str] = []
        """Our identifiers of open runs, outermost first."""
        self._output = Path()
        self._queue: RecordQueue | None = None
        self._sender: Sender | None = None
        self._system: SystemMetrics | None = None
        self._models: dict[tuple[ModelKind, str], tuple[str, int]] = {}
        """Our identifiers of the runs of models, and their tokens."""
        self._best: Proposal | None = None
        self._metrics: Sequence[Metric] = ()

    def on_study_start(self, config: StudyConfig, output: Path) -> None:
        n_open = len(self._runs)
        try:
            self._start(config, output)
        except BaseException:
            # the next command on the study starts anew
            del self._runs[n_open:]
            if not self._runs:
                self._close()
            raise

    def _start(self, config: StudyConfig, output: Path) -> None:
        is_outermost = not self._runs
        active = mlflow.active_run()
        # set by `mlflow run`
        attached = os.environ.get("MLFLOW_RUN_ID") or None if is_outermost and not active else None
        parent = self._runs[-1] if self._runs else None if active is None else active.info.run_id
        if is_outermost:
            fail_fast()
            require_own_store(output)
            self._output = output
            left_over = RecordQueue.list_in(output / FOLDER)
            header = {"uri": hide_credentials(tracking_uri())}
            self._queue = RecordQueue.create(output / FOLDER, header)
            self._sender = Sender([*left_over, self._queue])
        tags = {MLFLOW_RUN_NAME: config.name} if attached else resolve_tags()
        tags |= {"mixopt.study": config.name, "mixopt.verb": self._command}
        self._begin_run(
            config.name, parent=parent, experiment=config.name, tags=tags, run_id=attached
        )
        if is_outermost:
            self._check_server()
        plain = config.model_dump(mode="json")
        params = flatten({k: v for k, v in plain.items() if k not in ("experts", "benchmarks")})
        self._log_batch(params=params | {"domains": ", ".join(config.domains)})
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        self._append("text", text=text, path="recipe.yaml")
        if config.tracking.system_metrics and self._system is None:
            self._system = SystemMetrics(partial(self._log_system, self._runs[-1]))

    def on_domains_counted(self, counts: Sequence[DomainCount]) -> None:
        for count in counts:
            if count.content:
                self._append("data", name=count.domain, digest=count.content[:32])
        self._log_batch({f"corpus/tokens/{c.domain}": float(c.tokens) for c in counts})
        text = json.dumps({c.domain: asdict(c) for c in counts}, indent=2)
        self._append("text", text=text, path="domains.json")

    def on_model_trained(self, model: TrainedModel) -> None:
        name = model.name if model.kind == model.name else f"{model.kind} {model.name}"
        self._begin_run(name, parent=self._runs[-1], tags={"mixopt.kind": model.kind})
        tokens = int(model.metrics.get("tokens", 0))
        self._models[model.kind, model.name] = self._runs[-1], tokens
        # without times: the model may have been trained by an earlier command
        curve = [("loss", loss, 0, step) for step, loss in model.losses]
        known = [(key, value) for key, value in model.metrics.items() if value == value]
        results = [(metric_key(key), value, 0, 0) for key, value in known]
        purpose = {"role": model.role, "seed": model.seed}
        plain = dict(model.params)
        if "epochs" in plain:  # MLflow's charts begin with the first names that differ: the ratios
            plain["times_read"] = json.dumps(plain.pop("epochs"))
        params = flatten(plain) | ratio_params(model.ratios)
        params |= {key: str(value) for key, value in purpose.items() if value is not None}
        self._append(
            "batch", metrics=score_points(model.scores) + results + curve, params=params,
            tags={"mixopt.failure": model.failure} if model.failure else {},
        )  # fmt: skip
        self._end_run("FAILED" if model.failure else "FINISHED")

    def on_model_scored(self, kind: ModelKind, name: str, scores: Mapping[str, Score]) -> None:
        run, tokens = self._models.get((kind, name), ("", 0))
        if run:  # not an expert that was trained elsewhere
            self._append("batch", run, metrics=score_points({tokens: scores}), params={}, tags={})

    def on_round_scored(self, result: RoundResult) -> None:
        metrics = {"search/trials": result.n_candidates, "search/best_utility": result.best_utility}
        metrics |= {f"reliability/{name}": tau for name, tau in result.reliabilities.items()}
        metrics |= {f"surrogate/cv_rank/{m}": rank for m, rank in result.rank_correlations.items()}
        self._log_batch(metrics, step=result.number, tags=table_tag(TRIALS))
        self._append("text", text=table_json(result.trials.to_frame()), path=TRIALS)
        self._metrics = result.trials.metrics

    def on_proposals(self, proposals: Sequence[Proposal]) -> None:
        self._best = proposals[0]
        self._log_batch(proposal_metrics(self._best), tags={"mixopt.verdict": self._best.verdict})

    def on_validation(self, validation: "Validation") -> None:
        rows = validation.fidelities
        self._log_batch({f"fidelity/{row.proxy}/{row.name}": row.spearman for row in rows})

    def on_file_written(self, path: Path) -> None:
        assert self._queue is not None
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            inner = file.parent.relative_to(path.parent).as_posix() if path.is_dir() else ""
            kept = self._queue.keep(file)
            self._append("file", file=os.path.relpath(kept, self._output), to=inner or None)
        if path.name == PROPOSAL_FILE and files:  # a command that keeps an older one logs none
            self._log_batch(tags={PROPOSAL_TAG: PROPOSAL_FILE})

    def on_study_end(self, failure: BaseException | None) -> None:
        self._log_answer(complete=failure is None)
        if len(self._runs) == 1 and self._system is not None:
            self._system.stop()
            self._system = None
        stopped = isinstance(failure, KeyboardInterrupt)
        self._end_run("KILLED" if stopped else "FINISHED" if failure is None else "FAILED")
        if self._runs or self._sender is None:
            return
        n_pending = self._sender.finish()
        if n_pending:
            log.warning(
                "%d records for MLflow at %s wait in %s; send them with: mixopt sync %s",
                n_pending, hide_credentials(tracking_uri()), self._output / FOLDER,
                shlex.quote(str(self._output)),
            )  # fmt: skip
        self._queue = self._sender = None

    def _close(self) -> None:
        """Stop at once; records that were not sent are left over for the next command."""
        if self._system is not None:
            self._system.stop()
        if self._sender is not None:
            self._sender.finish(timeout_s=0)
        self._queue = self._sender = self._system = None

    def _log_answer(self, *, complete: bool) -> None:
        """Log the last proposal as parameters: those of MLflow are fixed once they are logged."""
        best, metrics = self._best, self._metrics
        self._best, self._metrics, self._models = None, (), {}
        if not complete or (best is None and not metrics):
            return
        params = {} if best is None else ratio_params(best.ratios, "recommended/")
        note = describe_study("" if best is None else best.verdict, metrics)
        self._log_batch(params=params, tags={MLFLOW_RUN_NOTE: note})

    def _log_system(self, run: str, values: Mapping[str, float], number: int) -> None:
        points = [(metric_key(key), value, now_ms(), number) for key, value in values.items()]
        self._append("batch", run, metrics=points, params={}, tags={})

    def _check_server(self) -> None:
        assert self._sender is not None
        assert self._queue is not None
        try:
            self._sender.wait_for_answer(START_TIMEOUT_S)
        except UserError:
            self._queue.remove()
            raise
        if self._sender.outage is not None:
            log.warning(
                "MLflow at %s does not answer; what is to be logged waits in %s and is sent when "
                "it does.", hide_credentials(tracking_uri()), self._output / FOLDER,
            )  # fmt: skip

    def _begin_run(
        self,
        name: str,
        *,
        parent: str | None,
        tags: Mapping[str, str],
        experiment: str = "",
        run_id: str | None = None,
    ) -> None:
        self._runs.append(secrets.token_hex(16))
        self._append("run", id=run_id, name=name, parent=parent, experiment=experiment,
                     tags=dict(tags), time=now_ms())  # fmt: skip

    def _end_run(self, status: str) -> None:
        self._append("end", status=status, time=now_ms())
        self._runs.pop()

    def _log_batch(
        self,
        metrics: Mapping[str, float] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        # the time is fixed here, so that delivering the record twice logs the same points
        known = [(key, float(value)) for key, value in (metrics or {}).items() if value == value]
        points = [(metric_key(key), value, now_ms(), step) for key, value in known]
        self._append("batch", metrics=points, params=dict(params or {}), tags=dict(tags or {}))

    def _append(self, operation: str, run: str | None = None, **fields: Any) -> None:
        assert self._queue is not None
        assert self._sender is not None
        self._queue.append({"do": operation, "run": run or self._runs[-1], **fields})
        self._sender.wake()
