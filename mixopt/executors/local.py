"""The executor that does each job at once, in this process."""

from concurrent.futures import Future

from mixopt.executors.job import Job, Worker


class LocalExecutor:
    """One worker, here."""

    slots = 1
    coarse = False
    remote = False

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def submit(self, job: Job) -> "Future[Exception | None]":
        """Does the job before it returns."""
        future: Future[Exception | None] = Future()
        try:
            self._worker(job)
        except Exception as error:  # with its traceback: nothing was sent anywhere
            future.set_result(error)
        else:
            future.set_result(None)
        return future

    def close(self) -> None:
        """Nothing to let go."""
