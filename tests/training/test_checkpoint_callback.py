"""A training that was stopped goes on as if it had not been, to the last digit."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import toy
from safetensors.torch import load_file, save_file
from transformers import TrainerControl

from mixopt.artifacts.artifact import ArtifactRecord, seal
from mixopt.config.loader import load_study
from mixopt.errors import UserError
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.environment import RunEnvironment
from mixopt.pipeline.training_runs import base_run, build_run, expert_run
from mixopt.training import checkpoint_callback
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.distributed import ProcessGroup


class StoppedError(Exception):
    pass


def stop_at(monkeypatch, step):
    """The process goes away just after the checkpoint at or after `step` is whole."""
    finish = CheckpointManager.commit

    def finish_and_stop(self, checkpoint):
        finish(self, checkpoint)
        if int(checkpoint.name.rpartition("-")[2]) >= step:
            raise StoppedError

    monkeypatch.setattr(CheckpointManager, "commit", finish_and_stop)


def train_expert(folder, training, minutes=10.0):
    """The expert on birds of the toy study, trained or found, and its base."""
    executor = {"kind": "local", "checkpoint_minutes": minutes}
    path = toy.write_study(folder, training=training, executor=executor)
    environment = RunEnvironment(folder / "journal", folder / "cache", None, "cpu", False)
    context = StudyContext(load_study(path), environment)
    context.corpora.build()
    build_run(context, base_run(context))
    return build_run(context, expert_run(context, "birds")).folder


def weights(folder):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.fixture(scope="module", params=["full", "lora"])
def undisturbed(request, tmp_path_factory):
    training = {"tokens": 4000, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 9,
                "method": request.param, "schedule": "cosine", "average_checkpoints": 3,
                "average_share": 0.8}  # fmt: skip
    return training, train_expert(tmp_path_factory.mktemp("whole"), training)


def take_base(undisturbed, tmp_path):
    """The corpora and the base of the undisturbed training, and no expert."""
    _, whole = undisturbed
    for name in ("journal", "cache"):
        shutil.copytree(whole.parents[2] / name, tmp_path / name)
    shutil.rmtree(tmp_path / "journal" / "experts")


@pytest.mark.slow
def test_an_expert_that_was_stopped_twice_is_the_same(undisturbed, tmp_path, monkeypatch):
    training, whole = undisturbed
    take_base(undisturbed, tmp_path)
    for step in (4, 9):
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(StoppedError):
                # a checkpoint at every step
                train_expert(tmp_path, training, minutes=1e-9)
    begun = []
    original = checkpoint_callback.CheckpointCallback.on_train_begin

    def on_train_begin(self, args, state, control, **rest):
        begun.append(state.global_step)
        original(self, args, state, control, **rest)

    monkeypatch.setattr(checkpoint_callback.CheckpointCallback, "on_train_begin", on_train_begin)
    again = train_expert(tmp_path, training)
    assert max(begun) >= 9  # the steps before were not made again
    found, wanted = weights(again), weights(whole)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
    told = [json.loads((folder / "outcome.json").read_text()) for folder in (again, whole)]
    assert told[0] == told[1]  # the loss curve too
    assert not list(again.parent.glob(".*.begun"))


@pytest.mark.parametrize("rank", [0, 1])
def test_sums_are_read_by_the_main_process_alone(tmp_path, rank):
    folder = tmp_path / "checkpoint-2"
    folder.mkdir()
    save_file({"weight": torch.ones(2, 2)}, folder / checkpoint_callback.PARAMETERS)
    save_file({"9:weight": torch.ones(2, 2)}, folder / checkpoint_callback.SUMS)
    (folder / checkpoint_callback.LOSSES).write_text("[[2, 1.5]]")
    seal(folder, {}, 0.0)
    losses, sums, network = [], {}, torch.nn.Linear(2, 2)
    manager = CheckpointManager(tmp_path, 1.0, processes=ProcessGroup(rank))
    callback = checkpoint_callback.CheckpointCallback(manager, losses, sums)
    state = SimpleNamespace(global_step=2)
    callback.on_train_begin(None, state, None, model=network)
    assert torch.equal(network.weight, torch.ones(2, 2))
    assert losses == [(2, 1.5)]
    assert list(sums) == (["9:weight"] if rank == 0 else [])


@pytest.mark.parametrize(("seconds", "expected"), [
    (1, []), (60, [10, 20, 30, 40]), (90, [7, 14, 21, 28, 35, 42, 49]), (2880, list(range(1, 50))),
])  # fmt: skip
def test_a_checkpoint_is_saved_as_soon_as_the_interval_has_passed(
    tmp_path, monkeypatch, seconds, expected
):
    """The Trainer logs a fiftieth of a long training at a time, which may take hours."""
    now, looks, saved = [0.0], [], []

    class Processes(ProcessGroup):
        def broadcast(self, value):
            looks.append(value)
            return value

    monkeypatch.setattr(checkpoint_callback.time, "monotonic", lambda: now[0])
    manager = CheckpointManager(tmp_path, 600, processes=Processes())
    callback, network = (
        checkpoint_callback.CheckpointCallback(manager, [], {}),
        torch.nn.Linear(2, 2),
    )
    state = SimpleNamespace(global_step=0, max_steps=50)
    callback.on_train_begin(None, state, None, model=network)
    for step in range(1, 51):
        now[0] += seconds
        state.global_step, control = step, TrainerControl()
        callback.on_step_end(None, state, control)
        assert control.should_log == control.should_save  # the Trainer's sum of losses is kept so
        if control.should_save:
            saved.append(step)
            (tmp_path / f"checkpoint-{step}").mkdir()
            callback.on_save(None, state, control, model=network)
    assert saved == expected
    if seconds == 1:  # processes need not agree at each step
        assert len(looks) == 1


def test_a_checkpoint_goes_on_as_it_was_begun(tmp_path):
    whole, shards = tmp_path / "checkpoint-1", tmp_path / "checkpoint-2"
    whole.mkdir()
    shards.mkdir()
    (shards / "pytorch_model_fsdp.bin").touch()
    checkpoint_callback.check_shards(whole, "birds", is_sharded=False)
    checkpoint_callback.check_shards(shards, "birds", is_sharded=True)
    with pytest.raises(UserError, match="without FSDP and cannot go on with it; .* remove /"):
        checkpoint_callback.check_shards(whole, "birds", is_sharded=True)
    with pytest.raises(UserError, match="with FSDP and cannot go on without it; start it as"):
        checkpoint_callback.check_shards(shards, "birds", is_sharded=False)


def test_short_trainings_write_no_checkpoint(undisturbed, tmp_path, monkeypatch):
    take_base(undisturbed, tmp_path)
    monkeypatch.setattr(CheckpointManager, "commit", lambda *_: pytest.fail("written"))
    monkeypatch.setattr(CheckpointManager, "device_seconds", 5e5)
    expert = train_expert(tmp_path, undisturbed[0])
    assert ArtifactRecord.read(expert).seconds == 5e5  # from which times are estimated
