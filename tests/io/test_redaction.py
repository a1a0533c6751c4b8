import logging
import subprocess
import sys

from mixopt.io.redaction import format_traceback, hide_in

URL = "http://me:secret@host/x"


def test_plain_values():
    plain = {"a": [URL, 3, None], URL: (URL,), "path": object}
    assert hide_in(plain) == {
        "a": ["http://host/x", 3, None], "http://host/x": ("http://host/x",), "path": object,
    }  # fmt: skip


def test_a_traceback_with_its_causes():
    try:
        try:
            raise ValueError(URL)
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        text = format_traceback(error)
    assert "ValueError: http://host/x" in text
    assert "RuntimeError: outer" in text
    assert "secret" not in text.replace('me:secret@host/x"', "")  # this file's own line


PROGRAM = """
import logging, sys, threading
from mixopt.io.redaction import redact_output
redact_output()
logging.basicConfig()
url = "http://me:sec" + "ret@host/x"
logging.getLogger("another.library").warning("no answer from %s", url)
try:
    raise ValueError(url)
except ValueError:
    logging.getLogger("x").exception("failed at %s", url)
thread = threading.Thread(target=lambda: int(url))
thread.start()
thread.join()
raise RuntimeError(url)
"""


def test_logs_and_tracebacks_of_a_process():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert "secret" not in done.stderr
    assert done.stderr.count("http://host/x") == 5, done.stderr


def test_records_keep_their_arguments():
    from mixopt.io.redaction import RedactedRecord

    record = RedactedRecord("x", logging.INFO, "", 1, "%s at %s", ("a", URL), None)
    assert record.getMessage() == "a at http://host/x"
