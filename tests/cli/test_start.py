import subprocess
import sys


def test_the_entry_point_runs_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "mixopt", "--version"], capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("mixopt")
