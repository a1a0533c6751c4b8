"""Measure how the package is laid out: names, imports, docstrings, size, and the depth of a search.

    python docs/measure_structure.py [CHECKOUT] [--no-study]

Prints one Markdown table for any checkout of mixopt, this one by default. Figures of two versions
stand side by side in docs/DECISIONS.md ("The second house").

What is counted:

- *Modules* are the files `*.py` of `mixopt/` without `__init__.py` and `__main__.py`.
- *Imported by exactly one other*: by the import graph of grimp, without imports for type checking.
- *Public docstrings*: of functions and classes at the top level of modules whose names do not begin
  with `_`. The sample of 30 is the first 30 by the SHA-256 of `module:name`. A docstring counts as
  having sections where it has a line `Args:` or `Returns:` (for classes also `Attributes:`, counted
  apart), and as having shapes where it names one in backticks (`n x d`, or a single letter).
- *One-line docstrings*: of all functions, methods and classes that have a docstring.
- *Frames*: a toy study is trained, then searched with a hook on the model's forward pass. Counted
  are the frames from `Study.search` (included) to the model's forward pass whose file lies in
  `mixopt/`, without comprehensions; the most frequent stack is reported.
"""

import argparse
import ast
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

STANDARD = ("scoring", "training", "merging")
"""Gerunds that are terms of the field."""
SAMPLE = 30
SECTIONS = re.compile(r"^\s*(Args|Returns):\s*$", re.MULTILINE)
ANY_SECTION = re.compile(r"^\s*(Args|Returns|Attributes):\s*$", re.MULTILINE)
SHAPE = re.compile(r"`[a-z]( x [a-z0-9()+·−/ -]+)*`")

TOY = """
import json, os, random, sys
from collections import Counter
from pathlib import Path
import torch
torch.set_num_threads(1)
place, package = Path(sys.argv[1]), sys.argv[2]
os.environ["MIXOPT_CACHE"] = str(place / "cache")
rng = random.Random(0)
words = {"birds": "the small bird sings in a green tree", "ships": "a grey ship sails over water"}
for name, text in words.items():
    rows = [" ".join(rng.choice(text.split()) for _ in range(60)) for _ in range(160)]
    (place / f"{name}.jsonl").write_text("".join(
        json.dumps({"text": row, "page": f"{name}/{i // 2}"}) + "\\n" for i, row in enumerate(rows)))
def source(name, part):
    return {"kind": "files", "paths": [f"{name}.jsonl"], "group": "page", "part": part}
(place / "toy.yaml").write_text(json.dumps({
    "name": "toy",
    "base": {"kind": "build", "vocabulary": 300, "context": 32,
             "config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                        "num_attention_heads": 2, "tie_word_embeddings": True},
             "training": {"tokens": 4000, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 9}},
    "training": {"tokens": 2000, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 9},
    "experts": [{"domain": name, "text": source(name, "train")} for name in words],
    "benchmarks": [{"name": name, "kind": "bits_per_byte", "capability": name,
                    "text": source(name, "heldout"), "max_items": 6} for name in words],
    "search": {"rounds": [6]}, "target": {"tokens": 20000, "max_repetition": 9},
}))
from mixopt.study import Study
study = Study.load(place / "toy.yaml", place / "out", device="cpu")
study.train()
stacks = Counter()
comprehensions = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")
def hook(module, inputs):
    if torch.is_grad_enabled() or not hasattr(module, "lm_head"):
        return
    frames, frame = [], sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(package):
            if code.co_name not in comprehensions:
                frames.append((code.co_filename[len(package) + 1 :], code.co_qualname))
            if code.co_qualname == "Study.search":
                stacks[tuple(reversed(frames))] += 1
                return
        frame = frame.f_back
torch.nn.modules.module.register_module_forward_pre_hook(hook)
study.search()
print(json.dumps(stacks.most_common(1)[0][0]))
"""


def list_modules(package: Path) -> list[Path]:
    """Return the modules of a package, sorted."""
    files = package.rglob("*.py")
    return sorted(f for f in files if f.name not in ("__init__.py", "__main__.py"))


def documented(package: Path) -> Iterator[tuple[str, ast.AST, bool]]:
    """Yield each function, method and class as (name, node, whether it is public and top-level)."""
    for file in sorted(package.rglob("*.py")):
        module = ".".join(file.relative_to(package.parent).with_suffix("").parts)
        tree = ast.parse(file.read_text())
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        private = any(part.startswith("_") and part != "__init__" for part in module.split("."))
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                public = node in tree.body and not private and not node.name.startswith("_")
                yield f"{module}:{node.name}", node, public


def count_imports(root: Path) -> tuple[int, int]:
    """Return how many modules exactly one other module imports, and how many modules there are."""
    code = (
        "import grimp, json, sys\n"
        "graph = grimp.build_graph('mixopt', exclude_type_checking_imports=True, cache_dir=None)\n"
        "print(json.dumps({m: len(graph.find_modules_that_directly_import(m))"
        " for m in graph.modules}))"
    )
    counts = json.loads(run_python(root, code))
    names = {
        ".".join(file.relative_to(root).with_suffix("").parts)
        for file in list_modules(root / "mixopt")
    }
    return sum(counts[name] == 1 for name in names), len(names)


def run_python(root: Path, code: str, *arguments: str) -> str:
    """Return what `code` prints in a new process that imports mixopt from `root`."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{code}", *arguments],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    return result.stdout.strip().splitlines()[-1]


def trace_search(root: Path) -> list[tuple[str, str]]:
    """Return the frames (file, function) from `Study.search` to a forward pass."""
    with tempfile.TemporaryDirectory() as folder:
        printed = run_python(root, TOY, folder, str(root / "mixopt"))
    return [(file, function) for file, function in json.loads(printed)]


def count_code(package: Path) -> int:
    """Return the lines of a package's Python that are no docstring, comment or blank line."""
    count = 0
    for file in package.rglob("*.py"):
        text = file.read_text()
        within: set[int] = set()
        for node in ast.walk(ast.parse(text)):
            for part in (
                getattr(node, "body", []) if isinstance(getattr(node, "body", []), list) else []
            ):
                if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                    within.update(range(part.lineno, (part.end_lineno or part.lineno) + 1))
        lines = enumerate(text.splitlines(), start=1)
        count += sum(
            number not in within and bool(line.strip()) and not line.strip().startswith("#")
            for number, line in lines
        )
    return count


def measure(root: Path, *, study: bool = True) -> dict[str, str]:
    """Return the figures of the checkout at `root` by name.

    Args:
        root: Folder that holds `mixopt/` and `pyproject.toml`.
        study: Whether to run the toy study, which takes a minute or two.
    """
    package = root / "mixopt"
    modules = list_modules(package)
    gerunds = [file.stem for file in modules if file.stem.endswith("ing")]
    other = [name for name in gerunds if name not in STANDARD]
    top = [p for p in package.iterdir() if p.name != "__pycache__"]
    once, graph_size = count_imports(root)
    pyproject = tomllib.loads((root / "pyproject.toml").read_text())
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    named = [list(c.get("layers", [])) for c in contracts]
    longest = max(len(c.get("source_modules", [])) for c in contracts)
    rows = list(documented(package))
    classes = [node for _, node, _ in rows if isinstance(node, ast.ClassDef)]
    dataclasses = [node for node in classes if "dataclass" in map(decorator, node.decorator_list)]
    texts = [text for _, node, _ in rows if (text := ast.get_docstring(node)) is not None]
    public = {name: ast.get_docstring(node) or "" for name, node, is_public in rows if is_public}
    order = sorted(public, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    sample = [public[name] for name in order[:SAMPLE]]
    files = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    lines = {p: len(p.read_bytes().splitlines()) for p in files}
    python = sum(count for p, count in lines.items() if p.suffix == ".py")
    figures = {
        "gerund module names": f"{len(gerunds)} of {len(modules)} ({len(gerunds) / len(modules):.0%})",
        "the same without scoring, training, merging": f"{len(other)}: {', '.join(sorted(other))}"
        if len(other) < 9
        else str(len(other)),
        "entries at the top of the package": f"{sum(p.is_file() for p in top)} files + "
        f"{sum(p.is_dir() for p in top)} folders",
        "modules imported by exactly one other": f"{once} of {graph_size}",
        "import contracts": str(len(contracts)),
        "layers in them": str(sum(map(len, named))),
        "longest list of modules in one": str(longest),
        f"of {SAMPLE} public docstrings: with Args or Returns": str(
            sum(bool(SECTIONS.search(text)) for text in sample)
        ),
        f"of {SAMPLE} public docstrings: with Args, Returns or Attributes": str(
            sum(bool(ANY_SECTION.search(text)) for text in sample)
        ),
        f"of {SAMPLE} public docstrings: with shapes": str(
            sum(bool(SHAPE.search(text)) for text in sample)
        ),
        "all public docstrings: with Args or Returns": share(
            [bool(SECTIONS.search(text)) for text in public.values()]
        ),
        "one-line docstrings": share(["\n" not in text.strip() for text in texts]),
        "dataclasses": f"{len(dataclasses)} of {len(classes)} classes",
        "lines of mixopt/, Python": f"{python:,}",
        "of these without docstrings, comments and blank lines": f"{count_code(package):,}",
        "lines of mixopt/, all files": f"{sum(lines.values()):,}",
    }
    if study:
        frames = trace_search(root)
        figures["frames from Study.search to a forward pass"] = (
            f"{len(frames)} in {len({file for file, _ in frames})} modules"
        )
    return figures


def decorator(node: ast.expr) -> str:
    """Return the name of a decorator."""
    target = node.func if isinstance(node, ast.Call) else node
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def share(values: list[bool]) -> str:
    """Return how many of `values` are true, with the percentage."""
    return f"{sum(values)} of {len(values)} ({sum(values) / max(len(values), 1):.0%})"


def main() -> None:
    """Print the table of one checkout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--no-study", action="store_true", help="skip the frames of a search")
    parser.add_argument("--frames", action="store_true", help="list the frames of a search")
    options = parser.parse_args()
    root = options.checkout.resolve()
    if options.frames:
        for file, function in trace_search(root):
            print(f"{file:40} {function}")
        return
    print("| measured | value |\n|---|---|")
    for name, value in measure(root, study=not options.no_study).items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
