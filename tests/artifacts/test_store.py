import pytest

from mixopt.artifacts.store import ArtifactStore, hash_key


def test_a_unit_is_made_once(tmp_path):
    journal, calls = ArtifactStore(tmp_path), []

    def build(scratch):
        calls.append(1)
        (scratch / "x").write_text("done")

    first = journal.make("kind", "name", {"seed": 1}, build)
    second = ArtifactStore(tmp_path).make("kind", "name", {"seed": 1}, build)
    assert first == second
    assert len(calls) == 1
    assert (first / "x").read_text() == "done"


def test_another_key_is_another_unit(tmp_path):
    journal = ArtifactStore(tmp_path)
    folders = {journal.make("kind", "name", {"seed": seed}, lambda s: None) for seed in (1, 2)}
    assert len(folders) == 2


def test_a_unit_that_fails_is_not_found_later(tmp_path):
    journal = ArtifactStore(tmp_path)
    with pytest.raises(RuntimeError), pytest.MonkeyPatch.context():
        journal.make("kind", "name", {}, lambda s: (_ for _ in ()).throw(RuntimeError("no")))
    assert [p for p in (tmp_path / "kind").iterdir() if p.suffix != ".lock"] == []
    made = journal.make("kind", "name", {}, lambda s: (s / "x").write_text("1"))
    assert (made / "x").exists()


def test_a_folder_without_its_mark_is_made_again(tmp_path):
    journal = ArtifactStore(tmp_path)
    folder = journal.make("kind", "name", {}, lambda s: (s / "x").write_text("1"))
    (folder / "unit.json").unlink()
    journal.make("kind", "name", {}, lambda s: (s / "x").write_text("2"))
    assert (folder / "x").read_text() == "2"


def test_candidates_are_many_of_one_name_and_no_news(tmp_path, caplog):
    caplog.set_level("INFO")
    journal = ArtifactStore(tmp_path)
    for kind, name in (("scores", "candidate"), ("experts", "candidate")):
        for weights in ([0.1, 0.9], [0.2, 0.8]):
            journal.make(kind, name, {"weights": weights}, lambda scratch: None)
    told = [record.message for record in caplog.records]
    assert told == ["candidate is made again: weights was [0.1, 0.9] and is [0.2, 0.8]."]


def test_hash_does_not_depend_on_the_order_of_keys():
    assert hash_key({"a": 1, "b": [2]}) == hash_key({"b": [2], "a": 1})
    assert hash_key({"a": 1}) != hash_key({"a": 2})
