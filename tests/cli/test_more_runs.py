import numpy as np
import pandas as pd
import pytest
from calling import call

from mixopt.cli.more_runs import describe_more_runs
from mixopt.optimization.learning_curve import Expectation

ROWS = [
    Expectation(24, 0.4, (0.3, 0.5), 0.8, (0.7, 0.9)),
    Expectation(56, 0.3, (0.2, 0.4), 0.9, (0.8, 0.95)),
]


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(0)
    web = rng.uniform(size=24)
    losses = (web - 0.6) ** 2 + 1 + 0.01 * rng.normal(size=24)
    table = pd.DataFrame({"run": range(24), "web": web, "code": 1 - web, "val_loss": losses})
    table.to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def test_the_sentence_says_how_much_of_the_error_more_runs_take_away():
    lines = describe_more_runs(ROWS)
    assert [line.split()[0] for line in lines[1:3]] == ["24", "56"]
    assert lines[-1] == "32 more runs would cut the error of predictions by about 25%."
    assert lines[0].count("80% interval") == 2
    assert lines[0].index("rank") == lines[1].index("+0.800")


def test_a_proposal_s_report_has_the_learning_curve_where_it_is_asked_for(runs, tmp_path):
    given = ("propose", "--runs", runs, "--domains", "web,code", "-v")
    assert "more runs would cut" not in call(*given, "-o", tmp_path / "plain")
    assert "More runs</h3>" not in (tmp_path / "plain" / "report.html").read_text()
    printed = call(*given, "--advise", "-o", tmp_path / "out")
    assert "32 more runs would cut the error" in printed
    assert "32 more runs would cut the error" in call("design", "--advise", "--runs", runs)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "More runs</h3>" in page
    assert "propose --advise" not in page  # it was done


def test_too_few_runs_for_a_curve_are_said_before_anything_is_written(tables, tmp_path):
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1], "--advise",
                   "-o", tmp_path / "out", code=2)  # fmt: skip
    assert "8 runs are too few for a learning curve; it needs 16" in printed
    assert not (tmp_path / "out").exists()
