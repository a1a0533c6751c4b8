"""The report in Chromium: the script computes what Python computes, and loads nothing else."""

import json
import shutil

import numpy as np
import pytest
from pages import DOMAINS, NATURAL, OUTPUTS, report, what_if

from mixopt import Estimate, Mixture, Proposal
from mixopt.estimate import Z95
from mixopt.report.page import write_report
from mixopt.report.what_if import Emulator

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--no-first-run"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is on the PATH")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    data = report()
    return data, write_report(data, tmp_path_factory.mktemp("report"))


@pytest.fixture
def opened(browser, written):
    data, path = written
    context = browser.new_context(color_scheme="dark", viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.problems, page.requested = [], []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.requested.append(request.url))
    page.goto(path.as_uri())
    yield page, data
    assert page.problems == []
    assert page.requested == [path.as_uri()]
    context.close()


def compare(page, data):
    """Assert that the page shows what Python computes for the same mixture."""
    shown = page.locator("#gain").evaluate("e => ({...e.dataset})")
    ratios = np.array(json.loads(shown["ratios"]))
    (columns,) = data.what_if.emulator.predict(ratios[None])
    assert float(shown["mean"]) == pytest.approx(columns[0], abs=1e-6)
    _, _, std = data.what_if.read(data.what_if.outputs[0], ratios[None])
    assert float(shown["half"]) == pytest.approx(Z95 * std[0], abs=1e-6)
    return ratios, columns


def test_a_slider_moves_one_ratio_and_the_page_computes_as_python_does(opened):
    page, data = opened
    before, _ = compare(page, data)
    slider = page.get_by_role("slider", name="ships")
    slider.fill("0.6")
    ratios, columns = compare(page, data)
    assert ratios[1] == pytest.approx(0.6)
    assert ratios.sum() == pytest.approx(1)
    assert ratios[0] / ratios[2] == pytest.approx(before[0] / before[2])
    row = page.locator("#outputs tr", has_text="birds_heldout")
    assert row.locator("td").first.inner_text() == f"{columns[6]:.3f}"


def test_starting_mixtures_and_keyboard(opened):
    page, data = opened
    page.get_by_role("button", name="natural").press("Enter")
    ratios, columns = compare(page, data)
    assert ratios == pytest.approx([NATURAL[domain] for domain in DOMAINS])
    assert columns[0] == pytest.approx(0, abs=1e-6)
    slider = page.get_by_role("slider", name="birds")
    slider.focus()
    page.keyboard.press("ArrowRight")
    ratios, _ = compare(page, data)
    assert ratios[0] == pytest.approx(NATURAL["birds"] + 0.001)


def test_violated_bounds_are_named(opened):
    page, _ = opened
    page.get_by_role("slider", name="birds").fill("0.7")
    assert "outside the bounds" in page.locator("#verdict").inner_text()
    limits = page.locator(".slider small").first.inner_text()
    assert limits == "bounds 0.0% to 60.0%; 2.33 epochs, at most 2"


def test_every_picture_has_a_table(opened):
    page, data = opened
    for picture in ("slices", "ternary", "front", "points"):
        assert page.locator(f"#{picture} svg").count() > 0, picture
    for table in ("slices-table", "ternary-table", "front-table"):
        assert page.locator(f"#{table} tr").count() > 0, table
    page.locator("#third").select_option("0")  # the same domain twice
    assert "three different domains" in page.locator("#ternary").inner_text()
    page.locator("#across").select_option("1")
    assert page.locator("#front-head-0").text_content() == "sums"


def test_nothing_is_wider_than_a_phone(opened):
    page, _ = opened
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_of_two_domains_and_one_capability_has_no_map_and_no_front(browser, tmp_path):
    shares = np.linspace(0, 1, 9)
    nodes = np.stack([shares, 1 - shares], axis=1)
    two_domains = what_if(
        domains=("a", "b"), outputs=OUTPUTS[:1], feasible=nodes, lower=np.zeros(2), upper=np.ones(2),
        emulator=Emulator.fit(nodes, np.stack([shares, 0.01 + 0 * shares], axis=1)),
        starts={"proposal": Mixture({"a": 0.5, "b": 0.5})}, sqrt_reference=np.sqrt([0.5, 0.5]),
    )  # fmt: skip
    alone = Proposal(Mixture({"a": 0.5, "b": 0.5}), Estimate(0, 1), {})
    data = report(what_if=two_domains, proposals=(alone,), domains=(), validation=None)
    path = write_report(data, tmp_path)
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    assert page.locator("#gain").inner_text().startswith("+0.5")
    assert page.locator("#ternary-part").count() == page.locator("#front-part").count() == 0
    assert problems == []
    page.close()


def wide_report(d, folder):
    """A page of many domains whose gain depends on all of them."""
    rng = np.random.default_rng(0)
    domains = tuple(f"domain {j}" for j in range(d))
    nodes = rng.dirichlet(np.full(d, 0.3), 24)
    gain = np.sqrt(nodes) @ rng.normal(size=d)
    start = rng.dirichlet(np.full(d, 0.3))
    start[: d // 2] = 0.0
    mixture = Mixture.from_vector(domains, start / start.sum())
    wide = what_if(
        domains=domains, outputs=OUTPUTS[:1], feasible=nodes, lower=np.zeros(d), upper=np.ones(d),
        emulator=Emulator.fit(nodes, np.stack([gain, 0.01 + 0 * gain], axis=1)),
        starts={"proposal": mixture}, sqrt_reference=np.sqrt(nodes[0]),
    )  # fmt: skip
    data = report(what_if=wide, proposals=(Proposal(mixture, Estimate(0, 1), {}),), domains=(),
                  validation=None)  # fmt: skip
    return data, write_report(data, folder)


COUNT = """
window.roots = 0;
const root = Math.sqrt;
Math.sqrt = (x) => { window.roots++; return root(x); };
"""


def test_a_move_among_many_domains_costs_no_more_for_each_of_them(browser, tmp_path):
    """Every curve at every point over all domains took seconds for each move with 200 domains."""
    counts = []
    for d in (60, 120):
        (tmp_path / str(d)).mkdir()
        data, path = wide_report(d, tmp_path / str(d))
        page = browser.new_page()
        page.add_init_script(COUNT)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn=yes]", state="attached")
        page.evaluate("window.roots = 0")
        page.get_by_role("slider", name="domain 3", exact=True).fill("0.2")
        page.wait_for_selector("html[data-drawn=yes]", state="attached")
        ternary = 231 * (24 + 8)
        counts.append(page.evaluate("window.roots") - ternary)
        ratios, _ = compare(page, data)
        for place in (0, 3, d - 1):
            rows = page.locator("#slices-table tr", has_text=f"domain {place}").all()[:5]
            for row, share in zip(rows, (0.0, 0.25, 0.5, 0.75, 1.0), strict=True):
                other = ratios * (1 - share) / (1 - ratios[place])
                other[place] = share
                _, change, std = data.what_if.read(data.what_if.outputs[0], other[None])
                shown = [cell.text_content() for cell in row.locator("td").all()]
                assert float(shown[1].replace("−", "-")) == pytest.approx(change[0], abs=6e-4)
                assert float(shown[2]) == pytest.approx(Z95 * std[0], abs=6e-4)
        page.close()
    assert counts[1] < 2.3 * counts[0]
