"""Draw docs/architecture.svg: the packages of mixopt, and which imports which.

    python docs/draw_architecture.py

A box is a package or a module at the top of `mixopt/`; the modules of the public nouns share one box.
A line is an import (those for type checking are left out), downwards. Imports that follow from others
are not drawn: where A imports B and B imports C, a line from A to C would add nothing. The picture
therefore changes only when a package begins or ends to import another; a test compares the two.
"""

from collections.abc import Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
NOUNS = "mixture, trials, ..."
MEMBERS = (
    "mixture",
    "proposal",
    "schedule",
    "search_limits",
    "search_space",
    "trials",
    "validation",
)
"""Modules that share the box `NOUNS`."""
WIDTH, ROW, BOX, GAP, LETTER = 900, 78, 32, 26, 8.2

Graph = Mapping[str, set[str]]


def read_imports() -> Graph:
    """Return what each box imports, by name."""
    graph = grimp.build_graph("mixopt", exclude_type_checking_imports=True, cache_dir=None)
    boxes: dict[str, set[str]] = {}
    for module in graph.modules:
        importer = box_of(module)
        if importer:
            found = {box_of(other) for other in graph.find_modules_directly_imported_by(module)}
            boxes.setdefault(importer, set()).update(found - {importer, ""})
    return {name: boxes[name] for name in sorted(boxes)}


def box_of(module: str) -> str:
    """Return the box of a module; the package itself, which imports lazily, has none."""
    _, _, rest = module.partition(".")
    name = rest.split(".")[0]
    return NOUNS if name in MEMBERS else name


def reach(graph: Graph, start: str) -> set[str]:
    """Return everything that `start` imports, directly or not."""
    seen: set[str] = set()
    left = list(graph[start])
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += graph[name]
    return seen


def reduce_edges(graph: Graph) -> list[tuple[str, str]]:
    """Return the imports that do not follow from others, sorted.

    Imports between boxes that import each other are all kept.
    """
    below = {name: reach(graph, name) for name in graph}
    return sorted(
        (name, other)
        for name, others in graph.items()
        for other in others
        if not any(
            other in below[between] and between not in below[other]
            for between in others - {other}
            if name not in below[between]
        )
    )


def list_floors(graph: Graph) -> list[list[str]]:
    """Return the boxes by floor, the highest first: each is above all that it imports."""
    below = {name: reach(graph, name) for name in graph}
    floors: dict[str, int] = {}

    def floor_of(name: str) -> int:
        if name not in floors:
            lower = [other for other in below[name] if name not in below[other]]
            floors[name] = 1 + max(map(floor_of, lower), default=-1)
        return floors[name]

    for name in graph:
        floor_of(name)
    rows = [
        [name for name in graph if floors[name] == floor]
        for floor in range(max(floors.values()), -1, -1)
    ]
    return sort_rows(rows, reduce_edges(graph))


def sort_rows(rows: list[list[str]], edges: list[tuple[str, str]]) -> list[list[str]]:
    """Return the rows, each in the order of the mean place of what imports its boxes."""
    places: dict[str, float] = {}
    ordered = []
    for row in rows:
        means = {}
        for name in row:
            above = [
                places[importer] for importer, other in edges if other == name if importer in places
            ]
            means[name] = sum(above) / len(above) if above else 0.5
        row = sorted(row, key=lambda name: (means[name], name))
        places |= {name: (index + 0.5) / len(row) for index, name in enumerate(row)}
        ordered.append(row)
    return ordered


def draw() -> str:
    """Return the picture as SVG."""
    graph = read_imports()
    rows = list_floors(graph)
    height = ROW * len(rows) + 4
    boxes: dict[str, tuple[float, float, float]] = {}
    for number, row in enumerate(rows):
        widths = [LETTER * len(name) + 24 for name in row]
        gap = (WIDTH - sum(widths)) / (len(row) + 1)
        left = gap
        for name, width in zip(row, widths, strict=True):
            boxes[name] = (left, 18 + number * ROW, width)
            left += width + gap
    lines = []
    for importer, imported in reduce_edges(graph):
        (x1, y1, w1), (x2, y2, w2) = boxes[importer], boxes[imported]
        bottom, top = (y1 + BOX, y2) if y1 < y2 else (y1 + BOX / 2, y2 + BOX / 2)
        lines.append(
            f'<line x1="{x1 + w1 / 2:.1f}" y1="{bottom:.1f}" x2="{x2 + w2 / 2:.1f}" '
            f'y2="{top:.1f}"><title>{importer} imports {imported}</title></line>'
        )
    drawn = [
        f'<g><rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{BOX}" rx="4"/>'
        f'<text x="{x + w / 2:.1f}" y="{y + 21:.1f}">{name}</text></g>'
        for name, (x, y, w) in boxes.items()
    ]
    style = (
        "line{stroke:#8a96a3;stroke-width:1}rect{fill:#f4f6f8;stroke:#2a6f97}"
        "text{font:14px monospace;text-anchor:middle;fill:#1c2733}"
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Packages of mixopt, and which imports which">',
        f"<style>{style}</style>",
        f'<rect width="{WIDTH}" height="{height}" style="fill:#fff;stroke:none"/>',
        *lines, *drawn, "</svg>", "",
    ])  # fmt: skip


if __name__ == "__main__":
    (ROOT / "docs" / "architecture.svg").write_text(draw())
