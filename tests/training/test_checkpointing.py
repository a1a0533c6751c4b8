from mixopt.artifacts.artifact import seal
from mixopt.training.checkpointing import CheckpointManager


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
