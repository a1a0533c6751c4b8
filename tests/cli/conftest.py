import pandas as pd
import pytest


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
