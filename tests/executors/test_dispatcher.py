from concurrent.futures import Future

import pytest

from mixopt.errors import StorageError
from mixopt.executors.dispatcher import Dispatcher
from mixopt.executors.job import Job


def job(name):
    return Job("work", (), name)


class Late:
    """An executor whose jobs end when the test says so, in the order that it says."""

    slots, coarse, remote = 2, True, False

    def __init__(self, order):
        self.order, self.sent, self.closed = order, {}, 0

    def submit(self, asked):
        future = Future()
        self.sent[asked.name] = future
        ready = [name for name in self.order if name in self.sent]
        if len(self.sent) >= self.slots or len(self.order) == 1:
            self.order.remove(ready[0])
            self.sent.pop(ready[0]).set_result(None)
        return future

    def close(self):
        self.closed += 1


def test_jobs_come_back_in_the_order_in_which_they_end():
    late = Late(["b", "a"])
    crew = Dispatcher(lambda: late, 0)
    found = crew.do([job("a"), job("b")])
    assert next(found)[0].name == "b"
    late.sent.pop("a").set_result(None)
    assert next(found)[0].name == "a"
    assert next(found, None) is None


def test_an_executor_is_opened_with_the_first_job_and_again_after_it_was_closed():
    opened = []

    def begin():
        opened.append(Late(["a"]))
        return opened[-1]

    crew = Dispatcher(begin, 0)
    crew.close()
    assert not opened
    list(crew.do([job("a")]))
    assert (crew.slots, crew.coarse) == (2, True)
    crew.close()
    list(crew.do([job("a")]))
    assert [late.closed for late in opened] == [1, 0]


def test_a_full_disk_ends_it_all():
    class Full(Late):
        def submit(self, asked):
            future = Future()
            future.set_result(StorageError("The disk is full."))
            return future

    crew = Dispatcher(lambda: Full([]), 9)
    with pytest.raises(StorageError, match="full"):
        list(crew.do([job("a")]))


def test_the_fault_may_be_another_machines():
    """A node whose disk is full, or that lacks a driver, costs a try; if all do, it is the input."""

    class Node(Late):
        remote = True

        def __init__(self, errors):
            super().__init__([])
            self.errors = errors

        def submit(self, asked):
            future = Future()
            future.set_result(self.errors.pop(0))
            return future

    full = StorageError("The disk is full.")
    assert list(Dispatcher(lambda: Node([full, None]), 1).do([job("a")])) == [(job("a"), None)]
    with pytest.raises(StorageError):
        list(Dispatcher(lambda: Node([full, full]), 1).do([job("a")]))


def test_what_is_no_failure_of_a_job_passes():
    class Stopped(Late):
        def submit(self, asked):
            future = Future()
            future.set_exception(KeyboardInterrupt())
            return future

    with pytest.raises(KeyboardInterrupt):
        list(Dispatcher(lambda: Stopped([]), 9).do([job("a")]))
