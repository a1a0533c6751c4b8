from mixopt.io.globs import anchor_glob, expand_glob


def test_a_folder_with_the_marks_of_globs_in_its_name(tmp_path):
    folder = tmp_path / "run[1]"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.txt", "b[0].txt", "deep/c.txt"):
        (folder / name).write_text("x")

    def found(pattern):
        return expand_glob(anchor_glob(pattern, folder))

    assert found("a.txt") == [str(folder / "a.txt")]
    assert found("b[0].txt") == []  # beside a glob nothing tells that it is a name
    assert expand_glob(str(folder / "b[0].txt")) == [str(folder / "b[0].txt")]
    assert found("*.txt") == [str(folder / "a.txt"), str(folder / "b[0].txt")]
    assert found("**/*.txt") == [str(folder / n) for n in ("a.txt", "b[0].txt", "deep/c.txt")]
    assert found("deep/../*.txt") == found("*.txt")
    assert found("none*") == []


def test_absolute_globs_stay(tmp_path):
    assert anchor_glob("/data/*.txt", tmp_path) == "/data/*.txt"
    assert anchor_glob("/data/a.txt", tmp_path) == "/data/a.txt"
