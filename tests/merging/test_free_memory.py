import psutil
import pytest

from mixopt.merging import free_memory
from mixopt.merging.free_memory import count_free_memory

GB = 1 << 30


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("", (), {"available": 100 * GB}))


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(f"{text}\n")


def test_without_groups_it_is_the_machine_s(tmp_path):
    assert count_free_memory(tmp_path, tmp_path / "none") == 100 * GB
    (tmp_path / "cgroup").write_text("0::/\n3:memory:/gone\nodd\n")
    assert count_free_memory(tmp_path, tmp_path / "cgroup") == 100 * GB


def test_the_limits_of_a_group_and_of_those_around_it(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("0::/job/step\n")
    groups = tmp_path / "groups"
    write(groups / "job" / "step", max="max", current=GB)
    assert count_free_memory(groups, own) == 100 * GB
    write(groups / "job", max=8 * GB, current=5 * GB)
    assert count_free_memory(groups, own) == 3 * GB
    # pages of files are given back
    write(
        groups / "job", stat=f"anon {GB}\nactive_file {GB}\ninactive_file {2 * GB}\nfile {4 * GB}"
    )
    assert count_free_memory(groups, own) == 6 * GB
    write(groups / "job" / "step", max=2 * GB)
    assert count_free_memory(groups, own) == GB
    write(groups / "job" / "step", current=3 * GB)
    assert count_free_memory(groups, own) == 0


def test_groups_of_version_1(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n")
    groups = tmp_path / "groups"
    # in a container its group is the root
    write(groups / "memory", limit_in_bytes=8 * GB, usage_in_bytes=3 * GB,
          stat=f"total_inactive_file {GB}\ntotal_active_file 0")  # fmt: skip
    assert count_free_memory(groups, own) == 6 * GB
    write(groups / "memory", limit_in_bytes=9223372036854771712)
    assert count_free_memory(groups, own) == 100 * GB
    write(groups / "cpu,cpuacct", limit_in_bytes=1, usage_in_bytes=0)
    assert count_free_memory(groups, own) == 100 * GB


def test_here_it_is_a_number():
    assert 0 <= count_free_memory() <= 100 * GB
    assert free_memory.OWN.is_absolute()
