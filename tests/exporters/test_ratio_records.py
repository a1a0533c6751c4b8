import pytest

from mixopt.errors import ExportError
from mixopt.exporters.ratio_records import leave_out_records


@pytest.mark.parametrize(
    ("amounts", "kept"),
    [
        ({"web": 0.5, "code": 0.5}, ["web", "code"]),
        ({"run": 3, "web": 0.5, "code": 0.5, "total": 1.0}, ["web", "code"]),
        ({"run": 0.5, "web": 0.5}, ["run", "web"]),
        ({"web": 5e9, "code": 5e9, "all": 1e10}, ["web", "code"]),
        ({"web": 5e9, "code": 5e9, "all": 1e9}, ["web", "code", "all"]),
        ({"run": None, "web": 100.0}, ["web"]),
    ],
)
def test_entries_that_are_ratios(amounts, kept):
    assert list(leave_out_records(amounts, "plan")) == kept


def test_what_nothing_tells_is_refused():
    with pytest.raises(ExportError, match="plan: 'tokens' is called as .* take it out, or rename"):
        leave_out_records({"tokens": 1e9, "web": 3e9, "code": 2e9}, "plan")
