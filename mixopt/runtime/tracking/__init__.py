"""MLflow: the only room that imports it. A study is an experiment; a verb on it is a parent run.

Experts and proxy runs are child runs; candidates are rows of one table. Workers return results and
one process alone logs them, from a spool on disk: a server that is slow, away or dies costs no work.
"""

from mixopt.runtime.tracking.runs import log_proposals, read_runs
from mixopt.runtime.tracking.sending import send_left
from mixopt.runtime.tracking.tracker import MlflowTracker

__all__ = ["MlflowTracker", "log_proposals", "read_runs", "send_left"]
