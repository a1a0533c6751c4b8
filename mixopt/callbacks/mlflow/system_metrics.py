"""Load of this machine while a study runs, as MLflow's own runs log it.

MLflow's monitor sends each sample by itself and ends when the server does not answer. Here samples are
records of the queue like all others.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from mlflow.environment_variables import MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
"""Between samples, unless MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL is set; MLflow's own default."""


class SystemMetrics:
    """Samples the load of this machine in a thread until it is stopped.

    Args:
        send: Called with values by name (`system/cpu_utilization_percentage`, ...) and the number of the
            sample, from 0.
        interval_s: Seconds between samples.
    """

    def __init__(
        self, send: Callable[[dict[str, float], int], None], interval_s: float | None = None
    ) -> None:
        setting: Any = MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
        self._send = send
        self._interval_s = float(interval_s or setting.get() or INTERVAL_S)
        self._monitors: list[Any] = []
        kinds: tuple[Any, ...] = (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor)
        for kind in kinds:
            try:
                self._monitors.append(kind())
            except (ImportError, RuntimeError) as error:  # no GPU of NVIDIA, or nothing to read it
                log.debug("%s is not monitored: %s", kind.__name__, error)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while True:
            stops = self._stopped.wait(self._interval_s if number else 0.0)
            values: dict[str, float] = {}
            for monitor in self._monitors:
                monitor.collect_metrics()
                values |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            self._send({f"system/{name}": float(v) for name, v in values.items()}, number)
            number += 1
            if stops:
                return
