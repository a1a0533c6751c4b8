import pytest
from calling import call
from models_for_tests import family


@pytest.fixture
def folders(tmp_path):
    for seed, name in enumerate(("base", "web", "code")):
        family("llama", seed=seed).save_pretrained(tmp_path / name)
    return tmp_path


def test_merge_from_the_shell(folders, caplog):
    from transformers import AutoModelForCausalLM

    printed = call("merge", folders / "base", "-e", f"{folders / 'web'}=0.25", "-e",
                f"{folders / 'code'}=0.75", "-o", folders / "out")  # fmt: skip
    assert "Written" in printed
    assert "was it trained from another base?" in caplog.text
    assert AutoModelForCausalLM.from_pretrained(folders / "out") is not None
    again = call("merge", folders / "base", "-e", f"{folders / 'web'}=1", "-o", folders / "out",
                 code=2)  # fmt: skip
    assert "is there already" in again


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["-e", "web"], "as DIR=WEIGHT"),
        (["-e", "web=x"], "as DIR=WEIGHT"),
        (["-e", "web=1", "-e", "web=2"], "twice"),
        (["-e", "web=1", "--shard-size", "much"], "is not a size"),
        (["-e", "nowhere=1"], "holds no weights"),
        (["-e", "web=nan"], "finite numbers"),
    ],
)
def test_what_cannot_be_merged(folders, monkeypatch, extra, words):
    monkeypatch.chdir(folders)
    assert words in call("merge", "base", *extra, "-o", "out", code=2)
    assert not (folders / "out").exists()
