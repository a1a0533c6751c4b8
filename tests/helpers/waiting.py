"""Deadlines for tests: only reached where something never happens, however busy the machine is."""

import threading
import time

TIMEOUT_S = 300.0


def wait_until(condition, timeout_s=TIMEOUT_S):
    """Wait for a condition; fail where it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for has not happened"
        time.sleep(0.05)


def finish(function, timeout_s=TIMEOUT_S):
    """Return what a function returns; fail where it does not end."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    thread.join(timeout_s)
    assert results, "it does not end, or has raised an error"
    return results[0]
