import json
import os
import subprocess
import sys

import pytest

from mixopt.evaluation.tasks import program_runner


@pytest.mark.parametrize(("program", "written"), [
    ("assert True", b"token"), ("assert False", b""), ("raise SystemExit", b""), ("not python", b""),
])  # fmt: skip
def test_the_token_is_written_after_the_last_statement(tmp_path, program, written):
    (tmp_path / "program.py").write_text(program)
    reading, writing = os.pipe()
    options = {
        "confine": False,
        "hidden": [],
        "result": writing,
        "seconds": 60,
        "memory": 512 << 20,
    }
    done = subprocess.run(
        [sys.executable, "-I", "-B", program_runner.__file__, json.dumps(options)], cwd=tmp_path,
        input=b"token", pass_fds=(writing,), capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert stream.read() == written
    assert (done.returncode == 0) == bool(written) or program == "raise SystemExit"
