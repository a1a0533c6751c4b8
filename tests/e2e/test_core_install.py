"""What `pip install mixopt` brings: proposals from tables and exports, without torch or MLflow."""

import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
ABSENT = ("torch", "transformers", "peft", "tokenizers", "safetensors", "accelerate", "mlflow", "ray",
          "datasets", "lm_eval", "submitit")  # fmt: skip
NETWORK = ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "No matching distribution",
           "Could not find a version")  # fmt: skip
"""What pip says where the package index cannot be reached."""

WITHOUT = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
"""
CHECK = """
from pathlib import Path
from click.testing import CliRunner
from mixopt.cli.main import main

def call(*words, code=0):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code, result.output
    return result.output

table = ("propose", "--ratios", "ratios.csv", "--metrics", "metrics.csv")
# the best run has the best mixture of this table
assert "stay with the best seen mixture" in call(*table, "-o", "out")
assert Path("out/report.html").is_file()
assert "/d/web" in call("export", "out/proposal.json", "-f", "megatron", "-p", "/d/{domain}")
assert "run: pip install 'mixopt[mlflow]'" in call(*table, "--track", code=2)
assert "run: pip install 'mixopt[train]'" in call("train", "quickstart", code=2)

import mixopt
from mixopt.optimization.propose import propose
from mixopt.search_space import SearchSpace
trials = mixopt.read_trials(ratios="ratios.csv", metrics="metrics.csv", better="lower")
surrogate = mixopt.fit(trials, surrogates="ridge")
proposal = propose(surrogate, SearchSpace(trials.domains))[0]
assert proposal.ratios["web"] == 0.9, proposal.ratios  # a ridge's best run is at an end
assert "0.9 /d/web" in str(mixopt.export(proposal, "megatron", paths="/d/{domain}"))
try:
    mixopt.Study.load("quickstart")
except mixopt.MixoptError as error:
    print(type(error).__name__, error)
"""
"""Propose and export from the shell and from Python, and see what a study says."""


@pytest.fixture
def tables(tmp_path):
    webs = [0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.1, 0.6]
    rows = [f"{i},{web},{1 - web:.1f}" for i, web in enumerate(webs)]
    (tmp_path / "ratios.csv").write_text("\n".join(["run,web,code", *rows]) + "\n")
    rows = [f"{i},{(web - 0.6) ** 2 + 1}" for i, web in enumerate(webs)]
    (tmp_path / "metrics.csv").write_text("\n".join(["run,val_loss", *rows]) + "\n")
    return tmp_path


def run(*command, cwd=ROOT, code=0):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if command[0] == sys.executable:
        env["PYTHONPATH"] = str(ROOT)  # another environment has the wheel
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def check_proposals(python, folder):
    told = run(python, "-c", WITHOUT + CHECK, cwd=folder)
    assert "MissingExtraError This needs" in told
    assert "run: pip install 'mixopt[train]'" in told


def test_tables_need_no_extra(tables):
    """The same in this environment, with the packages of the extras blocked."""
    check_proposals(sys.executable, tables)


def test_packages_without_torch_can_be_imported(tmp_path):
    code = f"""{WITHOUT}
from importlib import import_module
from pkgutil import iter_modules, walk_packages
import mixopt
packages = ("cli", "config", "exporters", "io", "optimization", "report", "surrogates", "tables")
for package in packages:
    whole = import_module(f"mixopt.{{package}}")
    for module in walk_packages(whole.__path__, f"mixopt.{{package}}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
for module in iter_modules(mixopt.__path__, "mixopt."):
    if not module.ispkg and module.name != "mixopt.study":
        import_module(module.name)
"""
    run(sys.executable, "-W", "ignore", "-c", code, cwd=ROOT)


def requirements(distribution):
    """Return the names of what a distribution needs here, without its extras."""
    parsed = map(Requirement, distribution.requires or ())
    return [r.name for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]


def link(name, site, linked):
    """Put an installed distribution, and what it needs, into another environment."""
    distribution = metadata.distribution(name)
    if distribution.name in linked:
        return
    linked.add(distribution.name)
    for part in sorted({file.parts[0] for file in distribution.files}):
        if part in ("..", "__pycache__"):  # scripts, and what Python writes by itself
            continue
        source, target = distribution.locate_file(part), site / part
        if not target.exists():
            target.symlink_to(source)
    for needed in requirements(distribution):
        link(needed, site, linked)


@pytest.mark.slow
def test_the_wheel_with_its_core_dependencies_alone(tables, tmp_path):
    """Build the wheel and install it beside what its metadata names, and nothing else of this place."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    folder = tmp_path / "environment"
    try:
        run(*pip, "wheel", "--quiet", "--no-deps", "-w", tmp_path / "wheel", ROOT)
    except AssertionError as error:
        if any(word in str(error) for word in NETWORK):
            pytest.skip(f"the package index cannot be reached: {str(error)[-300:]}")
        raise
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (site,) = (folder / "lib").glob("*/site-packages")
    (wheel,) = (tmp_path / "wheel").glob("mixopt-*.whl")
    here = (*pip, "--python", python)
    run(*here, "install", "--quiet", "--no-compile", "--no-deps", "--no-index", wheel)
    (installed,) = metadata.distributions(name="mixopt", path=[str(site)])
    linked = set()
    for name in requirements(installed):
        link(name, site, linked)
    run(*here, "check")  # all that is needed is there, in versions that fit
    code = f"from importlib.util import find_spec\nprint([n for n in {ABSENT} if find_spec(n)])"
    assert run(python, "-c", code, cwd=tmp_path) == "[]\n"
    quickstart = site / "mixopt" / "_quickstart" / "studies" / "quickstart" / "quickstart.yaml"
    assert quickstart.is_file()
    check_proposals(python, tables)
