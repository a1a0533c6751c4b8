"""Two `mixopt run` over one folder at the same time: they join, and nothing is made twice."""

import json
import os
import subprocess
import sys

import pytest
import toy

from mixopt.study import Study

RESULTS = ("proposal.json", "trials.csv", "exports/mixture.yaml")


def start(path, folder):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MIXOPT_CACHE": str(folder / "cache")}
    given = ["run", str(path), "-o", str(folder / "out"), "--device", "cpu", "--no-track"]
    return subprocess.Popen([sys.executable, "-m", "mixopt", *given], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


@pytest.mark.slow
def test_two_runs_over_one_folder_join(tmp_path):
    path = toy.write_study(tmp_path / "study", search={"rounds": [8]})
    both = [start(path, tmp_path / "both") for _ in range(2)]
    said = [run.communicate(timeout=300) for run in both]
    assert [run.returncode for run in both] == [0, 0], said
    assert "waiting for it" in "".join(out for out, _ in said)  # they met
    alone = tmp_path / "alone"
    Study.load(path, alone / "out", cache=alone / "cache", device="cpu").run()
    for name in RESULTS:
        content = (tmp_path / "both" / "out" / name).read_bytes()
        assert content == (tmp_path / "alone" / "out" / name).read_bytes(), name
    units = {
        folder: sorted(
            str(mark.parent.relative_to(tmp_path / folder))
            for mark in (tmp_path / folder).rglob("artifact.json")
        )
        for folder in ("both", "alone")
    }
    assert units["both"] == units["alone"]
    for mark in (tmp_path / "both").rglob(
        "artifact.json"
    ):  # whole, and nobody's scratch among them
        assert json.loads(mark.read_text())["files"]
        assert not any(part.startswith(".") for part in mark.parts)
