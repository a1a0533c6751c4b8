import pytest

from mixopt.report.charts.explore import explore_charts
from mixopt.report.charts.rendering import to_svg
from mixopt.report.charts.theme import LIGHT, PAGE


def data_names(node):
    if isinstance(node, dict):
        own = {node["name"]} if "values" in node and "name" in node else set()
        return own.union(*map(data_names, node.values()))
    return set().union(*map(data_names, node)) if isinstance(node, list) else set()


def test_every_chart_has_the_data_that_the_page_fills():
    charts = {name: chart.to_dict() for name, chart in explore_charts(PAGE, "gain").items()}
    assert data_names(charts["slices"]) == {"slices"}
    assert data_names(charts["ternary"]) == {"bands", "lines", "frame", "marks"}
    assert data_names(charts["front"]) == {"front"}


@pytest.mark.parametrize("name", ["slices", "front"])
def test_vega_lite_draws_them_outside_the_page_too(name):
    assert to_svg(explore_charts(LIGHT, "gain")[name].to_dict()).startswith("<svg")
