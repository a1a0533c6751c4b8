"""Draws docs/architecture.svg from the imports as they are; a test compares the two.

    python docs/draw_architecture.py

Rows are the floors of import-linter's contract in pyproject.toml, boxes the modules and packages of
mixopt, lines the imports between them (those for type checking alone are left out).
"""

import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
WIDTH, ROW, BOX, GAP, LETTER = 980, 74, 30, 14, 7.4


def floors() -> list[list[str]]:
    """Modules of mixopt by floor, the highest first."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = told["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["name"] == "floors")
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def imports(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of importer and imported, sorted."""
    graph = grimp.build_graph("mixopt", exclude_type_checking_imports=True)
    pairs = set()
    for module in graph.modules:
        parts = module.split(".")
        if len(parts) < 2 or parts[1] not in names:
            continue
        for other in graph.find_modules_directly_imported_by(module):
            there = other.split(".")
            if len(there) > 1 and there[1] in names and there[1] != parts[1]:
                pairs.add((parts[1], there[1]))
    return sorted(pairs)


def draw() -> str:
    """The picture as SVG."""
    rows = floors()
    height = ROW * len(rows) + 20
    boxes: dict[str, tuple[float, float, float]] = {}
    for number, row in enumerate(rows):
        widths = [LETTER * len(name) + 22 for name in row]
        left = (WIDTH - sum(widths) - GAP * (len(row) - 1)) / 2
        for name, width in zip(row, widths, strict=True):
            boxes[name] = (left, 16 + number * ROW, width)
            left += width + GAP
    lines = []
    for importer, imported in imports(list(boxes)):
        x1, y1, w1 = boxes[importer]
        x2, y2, w2 = boxes[imported]
        lines.append(
            f'<line x1="{x1 + w1 / 2:.1f}" y1="{y1 + BOX:.1f}" x2="{x2 + w2 / 2:.1f}" '
            f'y2="{y2:.1f}"><title>{importer} imports {imported}</title></line>'
        )
    drawn = [
        f'<g><rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{BOX}" rx="4"/>'
        f'<text x="{x + w / 2:.1f}" y="{y + 20:.1f}">{name}</text></g>'
        for name, (x, y, w) in boxes.items()
    ]
    style = (
        "line{stroke:#8a96a3;stroke-width:.7;opacity:.6}rect{fill:#f4f6f8;stroke:#2a6f97}"
        "text{font:13px monospace;text-anchor:middle;fill:#1c2733}"
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Rooms of mixopt by floor, and who imports whom">',
        f"<style>{style}</style>",
        f'<rect width="{WIDTH}" height="{height}" style="fill:#fff;stroke:none"/>',
        *lines, *drawn, "</svg>", "",
    ])  # fmt: skip


if __name__ == "__main__":
    (ROOT / "docs" / "architecture.svg").write_text(draw())
