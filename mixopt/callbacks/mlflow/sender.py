"""Delivery of queued records to MLflow, in a thread while a study runs or at once by `mixopt sync`."""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from mixopt.artifacts.artifact import QUEUE_FOLDER
from mixopt.callbacks.mlflow.queue import RecordQueue
from mixopt.callbacks.mlflow.tracking import (
    fail_fast,
    require_own_store,
    tracking_uri,
)
from mixopt.callbacks.mlflow.uploader import ForeignStoreError, UnavailableError, Uploader
from mixopt.errors import UserError

log = logging.getLogger(__name__)

FOLDER = QUEUE_FOLDER
"""Folder of the queues, in the folder of a study's results."""
RETRY_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Between tries while a server is unavailable; the last one repeats."""
FINISH_TIMEOUT_S = 60.0
"""How long the end of a command waits for a slow server."""


class Sender:
    """Delivers queues in a thread.

    Args:
        queues: Oldest first; the last one belongs to this command, the others were left by commands
            that were killed or ended while the server was down.

    Attributes:
        failure: Why this command's records can never be delivered, if so.
        outage: Why the server does not take records now, if so.
    """

    def __init__(self, queues: Sequence[RecordQueue]) -> None:
        self._queues = list(queues)
        # at once, or another command would take it as left over
        is_locked = self._queues[-1].lock()
        assert is_locked
        self._new_record, self._answered = threading.Event(), threading.Event()
        self._closing = threading.Event()
        self.failure: UserError | None = None
        self.outage: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for_answer(self, timeout_s: float) -> None:
        """Wait until the server answered once, or is known to be unavailable.

        Raises:
            UserError: The store can never be used.
        """
        self._answered.wait(timeout_s)
        if self.failure is not None:
            raise self.failure

    def wake(self) -> None:
        """Tell the thread that the queue has a new record."""
        self._new_record.set()

    def finish(self, timeout_s: float = FINISH_TIMEOUT_S) -> int:
        """Try each pending record once more and stop; return how many are still pending."""
        self._closing.set()
        self._new_record.set()
        self._thread.join(timeout_s)
        return sum(queue.n_pending for queue in self._queues)

    def _run(self) -> None:
        for queue in self._queues:
            is_own = queue is self._queues[-1]
            if not is_own and not queue.lock():
                continue  # another command delivers it
            if not self._deliver(queue, is_own=is_own):
                queue.unlock()
                self._queues[-1].unlock()  # `mixopt sync` in this process may deliver it
                return

    def _deliver(self, queue: RecordQueue, *, is_own: bool) -> bool:
        """Deliver a queue to its end; return False if the thread must stop before."""
        try:
            uploader = Uploader(queue)
        except ForeignStoreError as error:  # it waits for a command with its store
            log.warning("%s", error)
            queue.unlock()
            return True
        n_tries = 0
        while True:
            is_closing = self._closing.is_set()
            self._new_record.clear()
            try:
                has_uploaded = uploader.upload_next()
                if not has_uploaded and not is_own:
                    uploader.end_open_runs()
            except UnavailableError as error:
                self.outage = str(error)
                self._answered.set()
                if is_closing:
                    return False
                self._closing.wait(RETRY_PAUSES_S[min(n_tries, len(RETRY_PAUSES_S) - 1)])
                n_tries += 1
                continue
            except UserError as error:
                if not is_own:  # the store of an older command; its records are kept
                    queue.unlock()
                    return True
                self.failure = error
                self._answered.set()
                return False
            if has_uploaded:
                self.outage, n_tries = None, 0
                self._answered.set()
            elif not is_own or is_closing:
                queue.remove()
                return True
            else:
                self._new_record.wait()


def send_pending(output: Path) -> tuple[int, int]:
    """Deliver the pending records of a study.

    Args:
        output: Folder of the study's results.

    Returns:
        Number of records that were delivered now, and that are still pending.

    Raises:
        UserError: There is no such folder, another command delivers, the server is unavailable, or a
            store can never be used.
    """
    if not output.is_dir():
        raise UserError(f"{output} does not exist; give the folder of a study's results.")
    fail_fast()
    require_own_store(output)
    n_delivered, foreign = 0, None
    for queue in RecordQueue.list_in(output / FOLDER):
        if not queue.lock():
            raise UserError(
                f"A command is sending what waits in {output / FOLDER}; wait for its end."
            )
        n_before = queue.n_delivered
        try:
            n_delivered += _send_all(queue)
        except ForeignStoreError as error:  # the other queues may be for this store
            queue.unlock()
            foreign = error
        except UnavailableError as error:
            queue.unlock()
            n_delivered += queue.n_delivered - n_before
            raise UserError(
                f"MLflow at {tracking_uri()} does not answer ({error}); {n_delivered} records were sent "
                f"and {queue.n_pending} wait: start it and sync again."
            ) from None
        except BaseException:
            queue.unlock()
            raise
        else:
            queue.remove()
    if foreign is not None:
        raise foreign
    return n_delivered, sum(queue.n_pending for queue in RecordQueue.list_in(output / FOLDER))


def _send_all(queue: RecordQueue) -> int:
    uploader = Uploader(queue)
    n_delivered = 0
    while uploader.upload_next():
        n_delivered += 1
    uploader.end_open_runs()
    return n_delivered
