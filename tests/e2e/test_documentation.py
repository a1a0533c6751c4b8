"""What README and docs/ show is run: Python unchanged, shell commands and YAML in a sandbox."""

import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import sandbox
import toy
import yaml
from calling import call
from pydantic import TypeAdapter

from mixopt.config.benchmarks import BenchmarkConfig
from mixopt.config.constraints import ProposalConfig
from mixopt.config.loader import load_study
from mixopt.config.training import ExpertConfig
from mixopt.pipeline.from_table import space_of

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROSE = [
    *PAGES,
    *(ROOT / folder / "README.md" for folder in ("experts", "benchmarks")),
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "studies").glob("*/RESULTS.md")),
]
ON_STUDIES = ("run", "train", "search", "validate", "report", "status")


def blocks(language):
    """Return each block with its page, in order."""
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        )
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation")
    sandbox.make(folder)
    page = (ROOT / "docs" / "how-to" / "trainers.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (folder / "my_trainer.py").write_text(code)
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    sandbox.write_tables(place)
    monkeypatch.setenv("SCRATCH", str(place / "scratch"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    monkeypatch.setenv("MIXOPT_CACHE", str(place / "cache"))
    return place


@pytest.mark.filterwarnings("ignore")  # sqlalchemy's and alembic's own, not ours
@pytest.mark.parametrize("block", blocks("bash") + blocks("sh"))
def test_shell(block, here, monkeypatch, tmp_path):
    for line in block.splitlines():
        words = [os.path.expandvars(word) for word in shlex.split(line, comments=True)]
        if words[:1] != ["mixopt"]:
            continue  # make, mlflow and sbatch have tests of their own, or none of ours
        words = words[1:]
        if words[0] == "init":  # where nothing is yet
            for name in ("data", "models"):
                (tmp_path / name).symlink_to(here / name)
            monkeypatch.chdir(tmp_path)
            call(*words)
            monkeypatch.chdir(here)
            continue
        if words[:2] == ["search", "study.yaml"]:
            words[1] = "beside/study.yaml"
        if "--mlflow" in words:
            sandbox.log_runs(words[words.index("--mlflow") + 1])
        if words[0] in ON_STUDIES or words[:2] == ["propose", "mine/study.yaml"]:
            words += ["--device", "cpu"] + ["--no-track"] * (words[0] != "status")
        if words[-1] == "merged":
            words[-1] = str(tmp_path / "merged")
        call(*words)


@pytest.mark.filterwarnings("ignore")  # sqlalchemy's and alembic's own, not ours
@pytest.mark.parametrize("block", blocks("python"))
def test_python(block, here, capsys):
    block = block.replace('Study.load("quickstart")', 'Study.load("mine/study.yaml", "runs-toy")')
    if "from_mlflow" in block:
        sandbox.log_proposal("toy")
    exec(compile(block, "documentation", "exec"), {"__name__": "documentation"})
    if "print(" in block:
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml(block, tmp_path):
    """A domain, a benchmark, limits, a whole study, or sections of one."""
    plain = yaml.safe_load(block)
    if "domain" in plain:
        TypeAdapter(ExpertConfig).validate_python(plain)
    elif "kind" in plain:
        TypeAdapter(BenchmarkConfig).validate_python(plain)
    elif "inequalities" in plain:
        limits = ProposalConfig.model_validate(plain)
        buckets = [f"web:q{number}" for number in range(1, 5)]
        space_of(list(limits.natural or [*buckets, "code"]), limits)
    else:
        study = toy.write_study(tmp_path)
        whole = yaml.safe_load(study.read_text())
        # snippets show runs of real studies, for which the toy's target is too short
        target = {"tokens": 10**12, "max_repetition": 1e12}
        base = plain.get("base", {})
        base = {"base": base if "kind" in base else whole["base"] | base}
        text = yaml.safe_dump(whole | {"target": target} | plain | base)
        if "lower" in text:  # bounds name the study's domains
            text = text.replace("code: 0", "ships: 0")
        study.write_text(text)
        load_study(study)


def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "docs" / "tutorial.py"), run_name="tutorial")
    assert "gain over natural" in capsys.readouterr().out
    for name in ("proposal.json", "blend.txt", "ratios.png", "gains.png", "predicted.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_links_lead_somewhere():
    for page in PROSE:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_that_pages_name_exist():
    """Paths in backticks; what a study writes, and patterns, begin elsewhere."""
    for page in PROSE:
        if page.name in ("DECISIONS.md", "LOG.md"):
            continue  # of their day
        for name in re.findall(
            r"`((?:mixopt|docs|tests|studies|experts|benchmarks)/[\w./-]+)`", page.read_text()
        ):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_rows_of_tables_are_short():
    for page in PROSE:
        for row in page.read_text().splitlines():
            assert not row.startswith("|") or len(row) <= 200, f"{page.name}: {row[:60]}"


def test_sections_of_the_methods_that_code_and_pages_cite_exist():
    sections = set(re.findall(r"^##+ ([\d.]+) ", (ROOT / "docs" / "methods.md").read_text(), re.M))
    assert len(sections) > 40
    for file in [*PAGES, *sorted((ROOT / "mixopt").rglob("*.py"))]:
        text = " ".join(file.read_text().replace("#", " ").split())
        for number in re.findall(
            r"methods(?:\.md)?[`)\]]*(?:\(methods\.md\))?, (?:section|chapter) ([\d.]*\d)", text
        ):
            assert number in sections, f"{file.name} cites section {number}"


def test_every_page_is_in_the_navigation_and_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stderr
    assert 'not included in the "nav"' not in built.stderr
    assert (tmp_path / "site" / "how-to" / "trainers" / "index.html").is_file()
    pages = "".join(page.read_text() for page in (tmp_path / "site").rglob("*.html"))
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', pages)


def script(name):
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_architecture_is_that_of_the_imports():
    assert (ROOT / "docs" / "architecture.svg").read_text() == script("draw_architecture").draw(), (
        "run python docs/draw_architecture.py"
    )


def test_floors_of_the_architecture_are_those_of_the_import_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in contracts["contracts"] if c["type"] == "layers"]
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| \d+ \| (.+) \|$", page, re.MULTILINE)
    named = [set(re.findall(r"`(\w+)`", row)) for row in rows]
    assert named == [set(re.findall(r"\w+", layer)) for layer in layers]
    tree = page[page.index("mixopt/\n") :].split("```")[0]
    folders = {path.parent.name for path in (ROOT / "mixopt").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/", tree, re.MULTILINE)) == folders


def test_the_picture_leaves_out_what_follows():
    drawing = script("draw_architecture")
    graph = {"a": {"b", "c", "d"}, "b": {"c", "d"}, "c": {"d"}, "d": {"c"}}
    assert drawing.reduce_edges(graph) == [
        ("a", "b"),
        ("b", "c"),
        ("b", "d"),
        ("c", "d"),
        ("d", "c"),
    ]
    assert drawing.list_floors(graph) == [["a"], ["b"], ["c", "d"]]


def test_structure_is_measured_on_any_checkout(tmp_path):
    """A package of three modules whose figures are counted by hand."""
    measuring = script("measure_structure")
    package = tmp_path / "mixopt"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "telling.py").write_text(
        'from dataclasses import dataclass\nimport mixopt.base\n\n@dataclass\nclass One:\n    """A."""\n'
    )
    (package / "training.py").write_text("import mixopt.base, mixopt.telling\n")
    (package / "base.py").write_text(
        'def fit():\n    """Fit.\n\n    Returns:\n        Scores (`n x m`).\n    """\n'
    )
    (tmp_path / "pyproject.toml").write_text(
        "[[tool.importlinter.contracts]]\nlayers = ['a', 'b | c']\nsource_modules = ['a']\n"
    )
    figures = measuring.measure(tmp_path, study=False)
    assert figures["gerund module names"] == "2 of 3 (67%)"
    assert figures["of these without docstrings, comments and blank lines"] == "6"
    assert figures["the same without scoring, training, merging"] == "1: telling"
    assert figures["entries at the top of the package"] == "4 files + 0 folders"
    assert figures["modules imported by exactly one other"] == "1 of 3"
    assert (figures["import contracts"], figures["layers in them"]) == ("1", "2")
    assert figures["of 30 public docstrings: with Args or Returns"] == "1"
    assert figures["of 30 public docstrings: with shapes"] == "1"
    assert figures["one-line docstrings"] == "1 of 2 (50%)"
    assert figures["dataclasses"] == "1 of 1 classes"
    assert figures["lines of mixopt/, all files"] == "13"


def test_every_format_has_its_row_among_the_trainers():
    from mixopt.exporters.export import FORMATS

    page = (ROOT / "docs" / "how-to" / "trainers.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `") and "`-f`" not in line]
    named = re.findall(r"`([a-z-]+)`", " ".join(row.split("|")[1] for row in rows))
    assert set(named) == set(FORMATS)
