import re

import pytest

from mixopt.report.charts.theme import DARK, LIGHT, PAGE, config

AA = 4.5  # WCAG 2.2, success criterion 1.4.3
AA_GRAPHICS = 3.0  # success criterion 1.4.11


def luminance(colour):
    """Relative luminance by WCAG's definition."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_and_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # known to fail AA


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(palette):
    for name in ("ink", "soft", "better", "worse", "grows", "shrinks", "blue", "unclear"):
        assert contrast(getattr(palette, name), palette.paper) >= AA, name
    for name in ("ink", "soft"):
        assert contrast(getattr(palette, name), palette.panel) >= AA, name


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_the_colour_scale_rises_or_falls_in_lightness(palette):
    steps = [luminance(colour) for colour in palette.scale]
    assert steps == sorted(steps) or steps == sorted(steps, reverse=True)
    assert contrast(palette.low, palette.high) >= AA_GRAPHICS


def test_the_page_refers_to_variables_that_both_themes_have():
    names = set(re.findall(r"var\(--(\w+)\)", str(config(PAGE)) + str(PAGE)))
    for palette in (LIGHT, DARK):
        defined = set(re.findall(r"--(\w+):", palette.css()))
        assert names <= defined
