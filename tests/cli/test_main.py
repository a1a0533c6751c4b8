import pytest
from calling import call


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "none.yaml"), "Study none.yaml does not exist"),
        (("propose",), "Give either STUDY, or a table"),
        (("propose", "--ratios", "none.csv", "--metrics", "none.csv"), "none.csv does not exist"),
        (("export", "none.json", "-f", "json"), "none.json does not exist"),
        (("init", "x", "-d", "only=one"), "two domains or more"),
        (("init", "x", "-d", "nonsense"), "NAME=GLOB"),
        (("init", "x", "-d", "../../up=a", "-d", "b=c"), "a name is letters"),
        (("init", "x", "-d", "a=1", "-d", "a=2"), "names 'a' twice"),
        (("propose", "quickstart", "--lower", "a=1"), "--lower goes with tables"),
        (("propose", "quickstart", "-q", "3"), "--proposals goes with tables"),
        (("run", "quickstart", "--seed", "-1"), "Invalid value for '--seed'"),
        (("nonsense",), "No such command"),
        (("design", "-n", "3"), "Give two --domains or more"),
        (("design", "--domains", "a,b"), "Give -n"),
        (("design", "--advise"), "needs the runs so far"),
    ],
)
def test_the_user_s_mistakes_end_with_a_sentence_and_code_2(
    arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = call(*arguments, code=2)
    assert words in told
    assert "Traceback" not in told


def test_our_mistakes_end_with_code_1_and_no_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr("mixopt.proposal.Proposal.read", lambda path: 1 / 0)
    told = call("export", tmp_path / "x", "-f", "json", code=1)
    assert "internal error (ZeroDivisionError" in told
    assert "Traceback" not in told


def test_a_full_disk_is_told_with_code_1(tables, tmp_path, monkeypatch):
    import errno

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fdopen", full)
    told = call(
        "propose", "--ratios", *[tables[0]], "--metrics", tables[1], "-o", tmp_path / "o", code=1
    )
    assert "disk is full" in told
    assert list((tmp_path / "o").iterdir()) == []


def test_help_names_every_verb():
    told = call("--help")
    for verb in ("run", "train", "search", "propose", "validate", "export", "init", "design"):
        assert f"\n  {verb} " in told
