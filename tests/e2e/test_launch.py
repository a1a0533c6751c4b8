"""One training spread over two processes, gloo on CPUs, as torchrun and accelerate start them."""

import json
import os
import subprocess
import sys

import pytest
import sharded
import torch
import toy
from safetensors.torch import load_file

from mixopt.study import Study

METHODS = ("full", "lora")
SCRIPT = """
import json, os, sys
from pathlib import Path
import torch.distributed
from mixopt.cli.main import main

for command in json.loads(sys.argv[1]):
    if command[0] == "search":  # it fails, and the launcher then ends the process that is not there yet
        torch.distributed.barrier()
    main(command, standalone_mode=False)  # a verb that fails exits the process
    # a file, since lines that two processes print into one pipe can be mixed
    Path(command[3] + "-finished-" + os.environ["RANK"]).touch()
"""


FAILING = """
import sys
from pathlib import Path
import torch
from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import RankZeroStore
from mixopt.errors import ModelError
from mixopt.training.distributed import ProcessGroup

folder, failing, kind = sys.argv[1:]
processes = ProcessGroup.launched(cpu=True)

def build(scratch):
    if processes.rank == int(failing):
        raise ModelError("ran out of memory") if kind == "ours" else RuntimeError("a card is gone")
    torch.distributed.all_reduce(torch.ones(1))  # a training step, in which it waits for the other

RankZeroStore(Path(folder), processes).get_or_build(Artifact("experts", "web", {}), build)
"""


def torchrun(script, *arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         str(script), *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **more}, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Two trainings by two processes that are started once, and then a verb that is not for them."""
    folder = tmp_path_factory.mktemp("launch")
    commands = []
    for method in METHODS:
        training = toy.study_plain()["training"] | {"method": method}
        path = toy.write_study(folder / method / "study", training=training)
        commands.append(["train", str(path), "-o", str(folder / method / "two" / "out"),
                         "--device", "cpu", "--no-track"])  # fmt: skip
    commands.append(["search", *commands[0][1:]])
    (folder / "launched.py").write_text(SCRIPT)
    done = torchrun(
        folder / "launched.py", json.dumps(commands), MIXOPT_CACHE=str(folder / "cache")
    )
    return folder, done


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_what_one_does(launched, method):
    folder, done = launched
    for rank in range(2):
        assert (folder / method / "two" / f"out-finished-{rank}").exists(), done.stderr[-3000:]
    # one of the two does the talking
    assert done.stdout.count("expert birds: loss") == len(METHODS), done.stderr[-3000:]
    tmp_path = folder / method
    path = tmp_path / "study" / "toy.yaml"
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
    study = Study.load(path, tmp_path / "two" / "out", cache=folder / "cache", device="cpu")
    assert {t.folder.parent.parent for t in study.train().values()} == {
        tmp_path / "two" / "out" / "artifacts"
    }


@pytest.mark.slow
def test_shards_of_fsdp_come_to_what_one_process_comes_to(tmp_path):
    """The Trainer shards nothing on CPUs, so shards are made by torch itself, and gathered by us."""
    out = tmp_path / "two.safetensors"
    done = torchrun(sharded.__file__, str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    sharded.main(str(tmp_path / "one.safetensors"))
    one, two = load_file(tmp_path / "one.safetensors"), load_file(out)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.allclose(two[name], tensor, atol=1e-5), name


@pytest.mark.slow
def test_only_training_is_spread_so(launched):
    _, done = launched
    assert done.returncode != 0
    assert "train experts together and do nothing else; launch `mixopt train`" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("failing", "kind", "told"), [
    (0, "ours", "process 0 of the launch failed: ran out of memory"),
    (1, "theirs", "process 1 of the launch failed: a card is gone"),
])  # fmt: skip
def test_a_process_that_fails_ends_the_launch(tmp_path, failing, kind, told):
    (tmp_path / "failing.py").write_text(FAILING)
    done = torchrun(tmp_path / "failing.py", str(tmp_path / "store"), str(failing), kind)
    assert done.returncode != 0
    assert f"mixopt: {told}" in done.stderr
    assert ("Traceback" in done.stderr.partition("mixopt: ")[0]) == (kind == "theirs")
