"""Write the pictures of the documentation: docs/report.png, and docs/pictures/ part by part.

python docs/photograph_report.py                                      # of an invented table of runs
python docs/photograph_report.py mixopt-runs/quickstart/report.html   # of a finished study
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page, sync_playwright

import mixopt
from mixopt.config.constraints import ProposalConfig
from mixopt.pipeline.from_table import propose_from_table, repetition_of, space_of
from mixopt.report.build import table_report_data
from mixopt.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DOCS = Path(__file__).parent
PARTS = {
    "ratios": "#ratios", "gains": "#gains", "benchmarks": "#benchmarks", "fit": ".pair",
    "sliders": ".try",
    "slices": "div:has(> figure > #slices)", "ternary": "#ternary-part", "front": "#front-part",
}  # fmt: skip
"""Picture by name, and the element of the page that it shows."""
NATURAL = {"web": 0.62, "books": 0.12, "code": 0.10, "papers": 0.08, "math": 0.05, "wiki": 0.03}
CAPABILITIES = {
    "reasoning": ["arc_acc", "hellaswag_acc"],
    "code": ["mbpp_loss", "humaneval_loss"],
    "math": ["gsm8k_loss", "theorems_loss"],
    "knowledge": ["trivia_acc", "biology_acc"],
}
AVAILABLE = {
    "web": 4e12,
    "books": 1.5e11,
    "code": 3e11,
    "papers": 1.2e11,
    "math": 6e10,
    "wiki": 1.5e10,
}


def invent_table(seed: int = 0, n: int = 48) -> pd.DataFrame:
    """Return runs whose scores follow a formula with noise: ratios, then metrics."""
    rng = np.random.default_rng(seed)
    domains = list(NATURAL)
    ratios = rng.dirichlet(8 * np.array(list(NATURAL.values())) + 0.3, n)
    share = dict(zip(domains, np.sqrt(ratios).T, strict=True))
    metrics = {
        "arc_acc": 0.30 + 0.10 * share["web"] + 0.12 * share["books"] + 0.06 * share["math"],
        "hellaswag_acc": 0.35 + 0.22 * share["web"] + 0.10 * share["books"],
        "mbpp_loss": 1.9 - 0.9 * share["code"] - 0.1 * share["papers"],
        "humaneval_loss": 2.1 - 0.8 * share["code"] - 0.2 * share["math"],
        "gsm8k_loss": 1.8 - 0.7 * share["math"] - 0.3 * share["papers"],
        "theorems_loss": 2.2 - 0.4 * share["math"] - 0.5 * share["papers"],
        "trivia_acc": 0.25 + 0.25 * share["wiki"] + 0.10 * share["web"],
        "biology_acc": 0.28 + 0.15 * share["papers"] + 0.12 * share["wiki"] + 0.05 * share["books"],
    }
    noisy = {name: values + rng.normal(0, 0.008, n) for name, values in metrics.items()}
    columns = {"run": range(n), **dict(zip(domains, ratios.T, strict=True)), **noisy}
    return pd.DataFrame(columns)


def report_invented(folder: Path) -> Path:
    """Write the report of a proposal from the invented table."""
    config = ProposalConfig(
        natural=NATURAL,
        capabilities=CAPABILITIES,
        budget={"tokens": 2e12, "available_tokens": AVAILABLE, "max_repetition": 4},
    )
    better = {
        name: "higher" if name.endswith("acc") else "lower"
        for names in CAPABILITIES.values() for name in names
    }  # fmt: skip
    trials = mixopt.read_trials(
        runs=invent_table(), domains=list(NATURAL), better=better, capabilities=CAPABILITIES
    )
    surrogate, proposals = propose_from_table(trials, config)
    space = space_of(trials.domains, config)
    repetition = repetition_of(config, trials.domains)
    data = table_report_data(
        "an invented table", surrogate, proposals, space, repetition=repetition
    )
    return write_report(data, folder)


def photograph(page: Page, report: Path) -> None:
    """Save the answer as docs/report.png, and each part that the report has."""
    page.goto(report.absolute().as_uri())
    page.locator("html[data-ready=yes]").wait_for()
    answer = page.locator(".answer").bounding_box()
    assert answer is not None
    clip = {"x": 0, "y": 0, "width": 900, "height": answer["y"] + answer["height"] + 16}
    page.screenshot(path=DOCS / "report.png", full_page=True, clip=clip)
    (DOCS / "pictures").mkdir(exist_ok=True)
    for name, element in PARTS.items():
        if page.locator(element).count():
            page.locator(element).first.screenshot(path=DOCS / "pictures" / f"{name}.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        written = Path(sys.argv[1]) if len(sys.argv) > 1 else report_invented(Path(scratch))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        photograph(
            browser.new_page(viewport={"width": 900, "height": 900}, color_scheme="light"), written
        )
        browser.close()
