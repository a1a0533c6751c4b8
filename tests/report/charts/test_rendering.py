import re

from pages import report

from mixopt.report.charts.ratios import ratios_picture
from mixopt.report.charts.rendering import page_script, to_png, to_svg


def test_png_is_the_same_each_time():
    spec = ratios_picture(report().best).spec()
    assert to_png(spec)[:8] == b"\x89PNG\r\n\x1a\n"
    assert to_png(spec) == to_png(spec)


def test_svg_has_the_names_as_text():
    svg = to_svg(ratios_picture(report().best).spec())
    assert "birds" in svg
    assert "20.0% → 50.0%" in svg


def test_the_script_of_a_page_ends_no_element_and_names_its_licences():
    script = page_script()
    assert not re.search("</script", script, re.I)
    assert "window.vegaEmbed" in script
    assert "BSD-3-Clause" in script[:300]
    assert len(script) < 1_000_000


def test_the_script_of_a_page_is_made_once_and_remembered(monkeypatch):
    page_script.cache_clear()
    first = page_script()
    page_script.cache_clear()  # as another process begins
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda *_, **__: 1 / 0)
    assert page_script() == first
