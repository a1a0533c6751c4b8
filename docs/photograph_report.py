"""Takes docs/report.png, the picture in the README, from a report of the quickstart.

python docs/photograph_report.py mixopt-runs/quickstart/report.html
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def photograph(report: Path, out: Path) -> None:
    """Saves the top of the page and its sliders as one picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="light")
        page.goto(report.absolute().as_uri())
        # what stands between the answer and the sliders would make the picture too long
        page.evaluate(
            """() => { let at = document.querySelector(".answer").nextElementSibling;
            while (at.id !== "try") { const next = at.nextElementSibling; at.remove(); at = next; } }"""
        )
        end = page.locator("#ternary-part figure").bounding_box()
        height = end["y"] + end["height"]
        page.screenshot(
            path=out, full_page=True, clip={"x": 0, "y": 0, "width": 1000, "height": height}
        )
        browser.close()


if __name__ == "__main__":
    photograph(Path(sys.argv[1]), Path(__file__).parent / "report.png")
