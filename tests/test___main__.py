import subprocess
import sys

from calling import ENV

from mixopt import __version__


def test_python_m_is_the_same_command():
    """What MLflow's entry points call."""
    printed = subprocess.run(
        [sys.executable, "-m", "mixopt", "--version"],
        capture_output=True, text=True, env=ENV, check=True,
    )  # fmt: skip
    assert __version__ in printed.stdout
