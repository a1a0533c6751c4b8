"""The report in Chromium: the script computes what Python computes, and loads nothing else."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from pages import DOMAINS, NATURAL, OUTPUTS, report, what_if

from mixopt import Estimate, Mixture, Proposal
from mixopt.decision import Decision, LearningStep, NextRun
from mixopt.estimate import Z95
from mixopt.report.data import PredictedScores
from mixopt.report.findings import find
from mixopt.report.page import write_report
from mixopt.report.what_if import Emulator

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--no-first-run"]  # fmt: skip

DRAWN = "html[data-ready=yes]"
FRAME = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"


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
    page.locator(DRAWN).wait_for()
    yield page, data
    assert page.problems == []
    assert page.requested == [path.as_uri()]
    context.close()


CELLS = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
# every text with its colour, over the nearest opaque background; numbers by WCAG 2.2
CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const owner = node.parentElement;
    if (!node.textContent.trim() || owner.closest("script, noscript, option")) continue;
    if (!owner.getClientRects().length) continue;
    const style = getComputedStyle(owner), inSvg = Boolean(owner.closest("svg"));
    const ink = parse(inSvg ? style.fill : style.color);
    let back = [255, 255, 255];
    for (let at = owner; at; at = at.parentElement) {
      const own = parse(getComputedStyle(at).backgroundColor);
      if (own.length === 3 || own[3] === 1) { back = own; break; }
    }
    const [low, high] = [light(ink), light(back)].sort((a, b) => a - b);
    const text = node.textContent.trim().slice(0, 40);
    found.push([inSvg ? "svg" : "html", (high + 0.05) / (low + 0.05), text]);
  }
  return found;
}"""


def read_number(text):
    return float(text.replace("−", "-").rstrip("%"))


def many_domains(names, natural, best):
    """A report of as many domains; its emulator knows the first two alone."""
    rng = np.random.default_rng(0)
    nodes = rng.dirichlet(np.ones(len(names)), 60)
    root = np.sqrt(nodes)
    columns = np.stack([
        root[:, 0], -3 + 0 * root[:, 0], root[:, 0], -3 + 0 * root[:, 0], root[:, 1],
        -3 + 0 * root[:, 0], 2 - root[:, 0], -root[:, 0], -6 + 0 * root[:, 0],
    ], axis=1)  # fmt: skip
    made = what_if(
        domains=tuple(names), emulator=Emulator.fit(nodes, columns), feasible=nodes[:30],
        sqrt_reference=np.sqrt(natural.vector(names)), lower=np.zeros(len(names)),
        upper=np.ones(len(names)), starts={"proposal": best.ratios, "natural": natural},
    )  # fmt: skip
    return report(what_if=made, proposals=(best,), domains=())


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


def test_a_slider_that_comes_back_from_all_gives_the_others_their_proportions_back(opened):
    page, data = opened
    before, _ = compare(page, data)
    slider = page.get_by_role("slider", name="ships")
    for share in ("1", "0.25"):
        slider.fill(share)
    ratios, _ = compare(page, data)
    assert ratios == pytest.approx(before)
    # another slider begins from what the first one left, and a start from itself
    slider.fill("0.5")
    page.get_by_role("slider", name="birds").fill("0")
    ratios, _ = compare(page, data)
    assert ratios[1] / ratios[2] == pytest.approx(0.5 / (0.5 * before[2] / (1 - before[1])))
    page.get_by_role("button", name="natural").click()
    page.get_by_role("slider", name="birds").fill("0.6")
    ratios, _ = compare(page, data)
    assert ratios[1] / ratios[2] == pytest.approx(NATURAL["ships"] / NATURAL["sums"])


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
    for picture in ("slices", "ternary", "front", "points", *find(data).pictures):
        assert page.locator(f"#{picture} svg").count() == 1, picture
        assert page.locator(f"#{picture} svg path").count() > 0, picture
    for name in find(data).pictures:
        assert page.locator(f"#{name} details tbody tr").count() > 0, name
    for table in ("slices-table", "ternary-table", "front-table"):
        assert page.locator(f"#{table} tr").count() > 0, table
    page.locator("#third").select_option("0")  # the same domain twice
    assert "three different domains" in page.locator("#ternary-legend").inner_text()
    page.locator("#across").select_option("1")
    assert page.locator("#front-head-0").text_content() == "sums"
    page.get_by_text("gain in sums").first.wait_for()


def test_curves_and_maps_have_the_numbers_that_python_has(opened):
    """They are computed from updated scalar products, the sliders' gain from all ratios."""
    page, data = opened
    page.get_by_role("slider", name="ships").fill("0.6")
    ratios, _ = compare(page, data)
    page.evaluate(FRAME)
    gain = data.what_if.outputs[0]

    def check(cells, mixture):
        _, change, std = data.what_if.read(gain, np.array([mixture]))
        assert read_number(cells[-2]) == pytest.approx(change[0], abs=6e-4)
        assert read_number(cells[-1]) == pytest.approx(Z95 * std[0], abs=6e-4)

    rows = page.locator("#slices-table tr").evaluate_all(CELLS)
    assert len(rows) == 5 * len(DOMAINS)
    for cells in rows:
        place, share = DOMAINS.index(cells[0]), read_number(cells[1]) / 100
        if share > 0.002:  # shares are rounded, and the gain is steep at zero
            mixture = ratios * (1 - share) / (1 - ratios[place])
            mixture[place] = share
            check(cells, mixture) if round(1000 * share, 6).is_integer() else None
    rows = page.locator("#ternary-table tr").evaluate_all(CELLS)
    assert len(rows) == 15
    for cells in rows:
        check(cells, [read_number(cell) / 100 for cell in cells[:3]])


def test_the_map_follows_the_sliders_and_marks_the_best(opened):
    page, _ = opened
    assert page.locator("#ternary-legend span").count() == 8
    before = page.locator("#ternary svg").inner_html()
    page.get_by_role("slider", name="ships").fill("0.9")
    page.evaluate(FRAME)
    page.wait_for_timeout(200)  # the chart is drawn after its frame
    assert page.locator("#ternary svg").inner_html() != before


def test_metrics_can_be_chosen_for_the_scatter(opened):
    page, data = opened
    shown = page.locator("#points-table tr")
    assert shown.count() == len(data.predictions["birds_heldout"].measured)


def test_where_the_reference_is_kept_what_moves_most_is_of_the_best_other_mixture(
    browser, tmp_path
):
    names = [f"domain {j}" for j in range(20)]
    natural = Mixture.uniform(names)
    other = Mixture({**natural, "domain 7": 0.09, "domain 11": 0.01})
    stays = Decision(False, other, natural, Estimate(0.1, 0.2), None, 4)
    best = replace(report().best, ratios=natural, decision=stays, comparisons=(), budget=None)
    data = many_domains(names, natural, best)
    starts = {"proposal": natural, "best other": other, "natural": natural}
    scores = PredictedScores(np.array([1.0, np.nan, 3.0]), np.array([1.0, 2.0, 3.0]), 0.5, "trees")
    data = replace(data, what_if=replace(data.what_if, starts=starts), predictions={"loss": scores})
    page = browser.new_page()
    page.goto(write_report(data, tmp_path).as_uri())
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    sliders = page.locator(".slider:visible label").all_inner_texts()
    assert set(sliders[:2]) == {"domain 7", "domain 11"}
    page.get_by_role("button", name="best other").click()
    ratios, _ = compare(page, data)
    assert ratios == pytest.approx(list(other.values()))
    # the number of a trial is that in the table of trials, also behind one without a score
    rows = page.locator("#points-table tr").evaluate_all(CELLS)
    assert [row[0] for row in rows] == ["1", "3"]
    page.close()


def test_nothing_is_wider_than_a_phone(opened):
    page, _ = opened
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def learnt(ratios, natural, named):
    """A decision with a learning curve, whose next run is named by a domain."""
    steps = (LearningStep(9000, 0, Estimate(0.2, 0.4), False),
             LearningStep(27000, 2, Estimate(0.3, 0.1), True))  # fmt: skip
    alone = Mixture({name: float(name == named) for name in ratios})
    runs = NextRun(alone, 9000, 9000, 0.01), NextRun(alone, 36000, 72000, 0.04)
    return Decision(
        True, ratios, natural, Estimate(0.3, 0.1), 9000, 2, learning=steps, next_runs=runs
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_learning_curve_is_drawn_in_both_themes_and_fits_a_phone(browser, tmp_path, scheme):
    data = report()
    best = replace(data.best, decision=learnt(data.best.ratios, NATURAL, "sums"))
    path = write_report(replace(data, proposals=(best,)), tmp_path)
    context = browser.new_context(color_scheme=scheme, viewport={"width": 400, "height": 800})
    page = context.new_page()
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    page.locator(DRAWN).wait_for()
    chart = page.locator("#learning svg")
    diamonds = chart.locator(".mark-symbol").last.locator("path")
    assert diamonds.count() == 2
    assert chart.locator(".mark-rule.role-mark").first.locator("line").count() == 2  # the intervals
    page.locator("#learning details").evaluate("e => { e.open = true; }")
    rows = page.locator("#learning tbody tr").evaluate_all(CELLS)
    assert [row[0] for row in rows] == ["9,000", "27,000", "36,000", "99,000"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    low = [row for row in page.evaluate(CONTRASTS) if row[1] < 4.5]
    assert not low, low
    assert problems == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(browser, written, scheme):
    _, path = written
    context = browser.new_context(color_scheme=scheme, viewport={"width": 800, "height": 800})
    page = context.new_page()
    page.goto(path.as_uri())
    page.locator(DRAWN).wait_for()
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 100
    assert {colour for colour, *_ in found} >= {"html", "svg"}  # both kinds of text
    low = [row for row in found if row[1] < 4.5]
    assert not low, low
    context.close()


def test_printed_it_is_one_sheet_in_light_colours(browser, tmp_path):
    rows = [(f"benchmark-{i}", Estimate(-0.01 * i, 0.02)) for i in range(64)]
    names = [f"domain-{i}" for i in range(25)]
    natural = Mixture.uniform(names)
    ratios = Mixture(
        {n: r + (0.02 if i == 0 else -0.02 / 24) for i, (n, r) in enumerate(natural.items())}
    )
    decision = Decision(True, ratios, natural, Estimate(1, 0.1), 9000, 4,
                        {f"capability-{i}": Estimate(1, 0.4) for i in range(8)}, dict(rows))  # fmt: skip
    best = replace(
        report().best, ratios=ratios, decision=decision, comparisons=(), budget=None, measured=None
    )
    path = write_report(many_domains(names, natural, best), tmp_path)
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(path.as_uri())
    page.locator(DRAWN).wait_for()
    pdf = page.pdf(prefer_css_page_size=True)
    assert pdf.count(b"/Type /Page\n") == 1
    page.emulate_media(media="print")
    assert (
        page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    assert page.locator("#ratios svg").is_visible()
    assert not page.locator("#sliders").is_visible()
    context.close()


def test_300_domains_and_hostile_names_stay_usable(browser, tmp_path):
    bad = "<img src=x onerror=alert(1)>\"'&", "\u202eright", "long-" * 40
    names = [*bad, *(f"domain-{i}" for i in range(297))]
    natural = Mixture.uniform(names)
    ratios = Mixture(
        {**natural, "domain-7": natural["domain-7"] + 0.001, bad[0]: natural[bad[0]] - 0.001}
    )
    first = replace(report().best.comparisons[0], ratios=natural)
    best = replace(report().best, ratios=ratios, comparisons=(first,), budget=None,
                   decision=learnt(ratios, natural, bad[0]))  # fmt: skip
    path = write_report(many_domains(names, natural, best), tmp_path)
    context = browser.new_context(viewport={"width": 400, "height": 800})
    page = context.new_page()
    problems, requested = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(path.as_uri())
    page.locator(DRAWN).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    sliders = page.locator(".slider:visible label").all_inner_texts()
    assert len(sliders) == 12
    assert {sliders[0], sliders[1]} == {"domain-7", bad[0]}  # what moves most is first
    page.get_by_label("Search domains").fill("domain-29")
    assert page.locator(".slider:visible").count() == 8  # 29, and 290 to 296
    page.get_by_role("slider", name="domain-290").fill("0.5")
    assert page.locator("#gain").inner_text()
    assert page.locator("#ratios").get_by_text(bad[0]).count() > 0
    assert page.locator("#learning svg").count() == 1
    assert page.locator("#learning tbody").get_by_text(bad[0]).count() == 2  # the next runs
    assert problems == []
    assert requested == [path.as_uri()]
    context.close()


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


SETTLE = """
async () => {
  for (let still = 0, seen = -1; still < 10; still += 1) {
    await new Promise(requestAnimationFrame);
    if (window.roots !== seen) { still = 0; seen = window.roots; }
  }
}
"""
"""Waits until nothing was drawn for ten frames."""
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
        page.wait_for_selector("html[data-ready=yes]", state="attached")
        page.get_by_label("Search domains").fill("domain 3")
        page.evaluate(SETTLE)
        page.evaluate("window.roots = 0")
        page.get_by_role("slider", name="domain 3", exact=True).fill("0.2")
        page.evaluate(SETTLE)
        counts.append(page.evaluate("window.roots"))
        compare(page, data)
        page.close()
    assert counts[1] < 2.3 * counts[0]
