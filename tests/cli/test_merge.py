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
        (["-e", "nowhere=1"], "does not exist; give the folder of a model"),
        (["-e", "web=nan"], "finite numbers"),
        (["-e", "web=60", "-e", "code=40"], "sum to 100"),
        (["-e", "web=3.5", "-e", "code=96.3"], "give shares (0.6 for 60%)"),
        (["-e", "web=-1", "-e", "code=2", "--normalise"], "cannot be divided by their sum"),
        (["-e", "web=0", "--normalise"], "cannot be divided by their sum"),
    ],
)
def test_what_cannot_be_merged(folders, monkeypatch, extra, words):
    monkeypatch.chdir(folders)
    assert words in call("merge", "base", *extra, "-o", "out", code=2)
    assert not (folders / "out").exists()


def test_weights_are_divided_by_their_sum(folders):
    from safetensors.torch import load_file

    for out, weights in (("shares", (0.6, 0.4)), ("percent", (60, 40))):
        pairs = zip(("web", "code"), weights, strict=True)
        given = [word for name, w in pairs for word in ("-e", f"{folders / name}={w}")]
        call("merge", folders / "base", *given, "-o", folders / out, "--normalise")
    shares, percent = (load_file(folders / o / "model.safetensors") for o in ("shares", "percent"))
    assert all(shares[name].equal(percent[name]) for name in shares)
