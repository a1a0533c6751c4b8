import resource
import subprocess
import sys

import pytest

from mixopt.io import file_limit
from mixopt.io.file_limit import raise_file_limit


def test_more_files_can_be_open(tmp_path):
    """In a process of its own, as limits stay."""
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 2000))
from mixopt.io.file_limit import raise_file_limit
raise_file_limit()
raise_file_limit()
streams = [open({str(tmp_path / "x")!r}, "w") for _ in range(300)]
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "(2000, 2000)"


def test_a_system_that_grants_less_than_it_states(monkeypatch):
    """As macOS does."""
    asked = []

    def refuse(_, limits):
        asked.append(limits[0])
        if limits[0] > 20_000:
            raise ValueError("not allowed")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_file_limit()
    assert asked == list(file_limit.WANTED)


@pytest.mark.parametrize(
    "limits", [(4096, 4096), (1 << 20, 1 << 30), (resource.RLIM_INFINITY,) * 2]
)
def test_a_limit_is_never_lowered(monkeypatch, limits):
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("set"))
    raise_file_limit()
