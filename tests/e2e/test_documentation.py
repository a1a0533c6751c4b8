"""What the README and docs/ show is run: Python as it stands, shell commands and YAML in a sandbox."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import toy
import yaml
from calling import call
import sandbox
from pydantic import TypeAdapter

from mixopt.config.benchmarks import BenchmarkConfig
from mixopt.config.constraints import ProposalConfig
from mixopt.config.loader import load_study
from mixopt.config.training import ExpertConfig

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ON_STUDIES = ("run", "train", "search", "validate", "report", "status")


def blocks(language):
    """Each block with its page, in order."""
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
            words += ["--device", "cpu", "--no-track"]
        if words[-1] == "merged":
            words[-1] = str(tmp_path / "merged")
        call(*words)


@pytest.mark.parametrize("block", blocks("python"))
def test_python(block, here, capsys):
    block = block.replace('Study.load("quickstart")', 'Study.load("mine/study.yaml", "runs-toy")')
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
        ProposalConfig.model_validate(plain)
    else:
        study = toy.write_study(tmp_path)
        whole = yaml.safe_load(study.read_text())
        text = yaml.safe_dump(whole | plain)
        if "lower" in text:  # bounds name the study's domains
            text = text.replace("code: 0", "ships: 0")
        study.write_text(text)
        load_study(study)


def test_links_lead_somewhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation_and_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    told = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert "WARNING" not in told.stderr
    assert 'not included in the "nav"' not in told.stderr
    assert (tmp_path / "site" / "how-to" / "trainers" / "index.html").is_file()
    pages = "".join(page.read_text() for page in (tmp_path / "site").rglob("*.html"))
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', pages)


def test_the_picture_of_the_architecture_is_that_of_the_imports():
    spec = importlib.util.spec_from_file_location(
        "draw_architecture", ROOT / "docs" / "draw_architecture.py"
    )
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    assert (ROOT / "docs" / "architecture.svg").read_text() == drawing.draw(), (
        "run python docs/draw_architecture.py"
    )


def test_every_format_has_its_row_among_the_trainers():
    from mixopt.exporters.export import FORMATS

    page = (ROOT / "docs" / "how-to" / "trainers.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `") and "`-f`" not in line]
    named = re.findall(r"`([a-z-]+)`", " ".join(row.split("|")[1] for row in rows))
    assert set(named) == set(FORMATS)
