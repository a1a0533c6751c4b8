import altair as alt

from mixopt.report.charts.picture import Picture, values
from mixopt.report.charts.theme import LIGHT, PAGE, WIDTH


def drawn(palette):
    return alt.Chart(values([{"x": 1}])).mark_point(color=palette.blue).encode(x="x:Q")


def test_a_chart_takes_the_width_of_its_place_on_the_page_and_a_fixed_one_elsewhere():
    picture = Picture("toy", drawn, "A toy", ("x",), [("1",)], 40)
    assert (picture.spec()["width"], picture.spec()["height"]) == (WIDTH, 40)
    on_page = picture.spec(PAGE)
    assert on_page["width"] == "container"
    assert on_page["mark"]["color"] == "var(--blue)"
    assert picture.spec(LIGHT)["mark"]["color"] == LIGHT.blue
    assert on_page["config"]["background"] == "transparent"


def test_named_data_can_be_replaced():
    assert values([], "points").to_dict() == {"values": [], "name": "points"}
    assert values([{"x": 1}]).to_dict() == {"values": [{"x": 1}]}
