"""One training spread over two processes, gloo on CPUs, as torchrun and accelerate start them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import load_file

from mixopt.study import Study


def launch(command, path, folder, **more):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MIXOPT_CACHE": str(folder / "cache"), **more}
    given = [command, str(path), "-o", str(folder / "out"), "--device", "cpu", "--no-track"]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         "-m", "mixopt.cli", *given], env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
def test_two_processes_train_what_one_does(tmp_path, method):
    training = toy.study_plain()["training"] | {"method": method}
    path = toy.write_study(tmp_path / "study", training=training)
    done = launch("train", path, tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("expert birds: loss") == 1  # one of them does the talking
    alone = Study.load(
        path, tmp_path / "one" / "out", cache=tmp_path / "one" / "cache", device="cpu"
    )
    for name, trained in alone.train().items():
        (other,) = (tmp_path / "two" / "out" / "artifacts" / "experts").glob(f"{name}-*")
        told = [json.loads((f / "outcome.json").read_text()) for f in (trained.folder, other)]
        assert told[0]["tokens"] == told[1]["tokens"]
        (file,) = trained.folder.glob("*.safetensors")
        mine, theirs = load_file(file), load_file(other / file.name)
        assert mine.keys() == theirs.keys()
        for tensor, found in mine.items():  # gradients are summed in another order
            assert torch.allclose(theirs[tensor], found, atol=2e-3), (name, tensor)
    # one process goes on over the same folder, and finds what two have trained
    study = Study.load(
        path, tmp_path / "two" / "out", cache=tmp_path / "two" / "cache", device="cpu"
    )
    assert {t.folder.parent.parent for t in study.train().values()} == {
        tmp_path / "two" / "out" / "artifacts"
    }


@pytest.mark.slow
def test_shards_of_fsdp_come_to_what_one_process_comes_to(tmp_path):
    """The Trainer shards nothing on CPUs, so shards are made by torch itself, and gathered by us."""
    script = str(Path(__file__).parent.parent / "helpers" / "sharded.py")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    found = {}
    for name, command in (("one", []), ("two", torchrun)):
        out = tmp_path / f"{name}.safetensors"
        done = subprocess.run(
            [sys.executable, *command, script, str(out)], capture_output=True, text=True,
            check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found[name] = load_file(out)
    assert found["one"].keys() == found["two"].keys()
    for name, tensor in found["one"].items():
        assert torch.allclose(found["two"][name], tensor, atol=1e-5), name


@pytest.mark.slow
def test_only_training_is_spread_so(tmp_path):
    path = toy.write_study(tmp_path / "study")
    done = launch("search", path, tmp_path)
    assert done.returncode != 0
    assert "train experts together and do nothing else; launch `mixopt train`" in done.stderr
