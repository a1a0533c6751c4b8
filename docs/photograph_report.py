"""Write docs/report.png, the picture in the README, from a report of the quickstart.

python docs/photograph_report.py mixopt-runs/quickstart/report.html
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def photograph(report: Path, out: Path) -> None:
    """Save the summary, the sliders and the ternary map as one picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="light")
        page.goto(report.absolute().as_uri())
        # without the tables between summary and sliders, which would make the picture too long
        page.evaluate(
            """() => { let node = document.querySelector(".summary").nextElementSibling;
            while (node.id !== "try") {
                const next = node.nextElementSibling; node.remove(); node = next; } }"""
        )
        end = page.locator("#ternary-part figure").bounding_box()
        height = end["y"] + end["height"]
        page.screenshot(
            path=out, full_page=True, clip={"x": 0, "y": 0, "width": 1000, "height": height}
        )
        browser.close()


if __name__ == "__main__":
    photograph(Path(sys.argv[1]), Path(__file__).parent / "report.png")
