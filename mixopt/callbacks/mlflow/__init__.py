"""MLflow: the only room that imports it. A study is an experiment; a verb on it is a parent run.

Experts and proxy runs are child runs; candidates are rows of one table. Workers return results and
one process alone logs them, from a spool on disk: a server that is slow, away or dies costs no work.
"""

from mixopt.callbacks.mlflow.callback import MlflowCallback
from mixopt.callbacks.mlflow.runs import log_proposals, read_runs
from mixopt.callbacks.mlflow.sender import send_left

__all__ = ["MlflowCallback", "log_proposals", "read_runs", "send_left"]
