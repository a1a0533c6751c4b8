import pandas as pd
import pytest
import toy
from calling import call


@pytest.fixture
def tables(tmp_path):
    rows = [
        (0.9, 0.1),
        (0.8, 0.2),
        (0.7, 0.3),
        (0.5, 0.5),
        (0.4, 0.6),
        (0.3, 0.7),
        (0.1, 0.9),
        (0.6, 0.4),
    ]
    ratios = pd.DataFrame(rows, columns=["web", "code"])
    ratios.insert(0, "run", range(8))
    metrics = pd.DataFrame({"run": range(8), "val_loss": [(a - 0.6) ** 2 + 1 for a, _ in rows]})
    ratios.to_csv(tmp_path / "a.csv", index=False)
    metrics.to_csv(tmp_path / "b.csv", index=False)
    return tmp_path / "a.csv", tmp_path / "b.csv"


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """A folder with a study, its cache and its results, and what `mixopt run` printed."""
    folder = tmp_path_factory.mktemp("ran")
    exports = [{"format": "json", "out": "mixture.json"}]
    path = toy.write_study(folder, validation={"mixtures": 4, "seeds": 1}, exports=exports)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXOPT_CACHE", str(folder / "cache"))
        printed = call("run", path, "-o", folder / "out", "--device", "cpu", "--no-track")
    return folder, printed


@pytest.fixture
def again(ran, monkeypatch):
    """Call a verb on the finished study, and return what it prints; training anew is an error."""
    from mixopt.training import trainer

    folder, _ = ran
    monkeypatch.setenv("MIXOPT_CACHE", str(folder / "cache"))
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained again"))
    logged = {"status": ()}  # what only looks is never logged
    return lambda verb: call(
        verb, folder / "toy.yaml", "-o", folder / "out", "--device", "cpu",
        *logged.get(verb, ("--no-track",)),
    )  # fmt: skip
