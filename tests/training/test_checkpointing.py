from mixopt.artifacts.artifact import seal
from mixopt.training import checkpointing
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.distributed import ProcessGroup


def test_a_checkpoint_that_was_cut_off_or_damaged_is_passed_over(tmp_path):
    place = CheckpointManager(tmp_path, 1.0)
    assert place.latest() is None
    for step in (2, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "w.bin").write_bytes(b"abc")
        seal(folder, {}, 0.0)
    (tmp_path / "checkpoint-11").mkdir()  # without a manifest: a kill while it was written
    assert place.latest() == tmp_path / "checkpoint-10"
    (tmp_path / "checkpoint-10" / "w.bin").write_bytes(b"abd")
    assert place.latest() == tmp_path / "checkpoint-2"


def test_a_finished_checkpoint_replaces_those_before_and_is_told(tmp_path):
    told = []
    place = CheckpointManager(tmp_path, 1.0, lambda: told.append(place.latest()))
    for step in (2, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "w.bin").write_bytes(b"abc")
        place.commit(folder)
    assert told == [tmp_path / "checkpoint-2", tmp_path / "checkpoint-10"]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


def test_seconds_are_those_of_all_attempts_and_devices(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpointing.time, "monotonic", lambda: now[0])

    def attempt(processes, seconds):
        """Train up to the next checkpoint, and then for a second that is lost."""
        manager = CheckpointManager(tmp_path, 1.0, processes=ProcessGroup(world_size=processes))
        now[0] += seconds
        folder = tmp_path / f"checkpoint-{now[0]:.0f}"
        folder.mkdir()
        manager.commit(folder)
        now[0] += 1.0
        return manager.device_seconds

    assert attempt(8, 10.0) == 88.0  # eight devices
    assert attempt(1, 30.0) == 80.0 + 31.0
    last = CheckpointManager(tmp_path, 1.0)
    now[0] += 5.0
    assert last.device_seconds == 80.0 + 30.0 + 5.0  # without a checkpoint of its own
