"""What `pip install mixopt` brings: proposals from tables and exports, without torch or MLflow."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

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
FROM_PYTHON = """
import mixopt
from mixopt.optimization.optimize import propose
from mixopt.search_space import SearchSpace
trials = mixopt.read_trials(ratios="ratios.csv", metrics="metrics.csv", better="lower")
surrogate = mixopt.fit(trials, surrogates="ridge")
proposal = propose(surrogate, SearchSpace(trials.domains))[0]
assert proposal.ratios["web"] > 0.5, proposal.ratios  # a ridge has its optimum at an end
print(mixopt.export(proposal, "megatron", paths="/d/{domain}"))
"""
STUDY_NEEDS_TORCH = """
try:
    import mixopt
    mixopt.Study.load("quickstart")
except mixopt.MixoptError as error:
    print(type(error).__name__, error)
"""


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
    """Propose and export from the shell and from Python, and see what a study says."""
    shell = f"{WITHOUT}\nfrom mixopt.cli.main import main\nmain()"
    table = ("propose", "--ratios", "ratios.csv", "--metrics", "metrics.csv")
    told = run(python, "-c", shell, *table, "-o", "out", cwd=folder)
    assert "better than the uniform mixture" in told
    assert (folder / "out" / "report.html").is_file()
    told = run(python, "-c", shell, "export", "out/proposal.json", "-f", "megatron",
               "-p", "/d/{domain}", cwd=folder)  # fmt: skip
    assert "/d/web" in told
    assert "1 /d/web" in run(python, "-c", WITHOUT + FROM_PYTHON, cwd=folder)
    told = run(python, "-c", shell, *table, "--track", cwd=folder, code=2)
    assert "run: pip install 'mixopt[mlflow]'" in told
    told = run(python, "-c", shell, "train", "quickstart", cwd=folder, code=2)
    assert "run: pip install 'mixopt[train]'" in told
    told = run(python, "-c", WITHOUT + STUDY_NEEDS_TORCH, cwd=folder)
    assert "MissingExtraError This needs" in told
    assert "run: pip install 'mixopt[train]'" in told


def test_tables_need_no_extra(tables):
    """The same in this environment, with the packages of the extras blocked."""
    check_proposals(sys.executable, tables)


def test_packages_without_torch_can_be_imported(tmp_path):
    code = f"""{WITHOUT}
from importlib import import_module
from pkgutil import walk_packages
import mixopt
packages = ("cli", "config", "exporters", "io", "optimization", "report", "surrogates", "tables")
for package in packages:
    whole = import_module(f"mixopt.{{package}}")
    for module in walk_packages(whole.__path__, f"mixopt.{{package}}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
for noun in ("errors", "mixture", "proposal", "schedule", "search_space", "trials", "validation"):
    import_module(f"mixopt.{{noun}}")
"""
    run(sys.executable, "-W", "ignore", "-c", code, cwd=ROOT)


@pytest.mark.slow
def test_the_wheel_with_its_core_dependencies_alone(tables, tmp_path):
    """Build the wheel and install it into an empty environment with what it depends on."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    folder = tmp_path / "environment"
    try:
        run(*pip, "wheel", "--quiet", "--no-deps", "-w", tmp_path / "wheel", ROOT)
        venv.create(folder, with_pip=False)
        python = folder / "bin" / "python"
        (wheel,) = (tmp_path / "wheel").glob("mixopt-*.whl")
        run(*pip, "--python", python, "install", "--quiet", "--no-compile",
            "-c", ROOT / "constraints.txt", wheel)  # fmt: skip
    except AssertionError as error:
        if any(word in str(error) for word in NETWORK):
            pytest.skip(f"the package index cannot be reached: {str(error)[-300:]}")
        raise
    code = f"from importlib.util import find_spec\nprint([n for n in {ABSENT} if find_spec(n)])"
    assert run(python, "-c", code, cwd=tmp_path) == "[]\n"
    installed = next((folder / "lib").glob("*/site-packages/mixopt"))
    assert (installed / "_quickstart" / "studies" / "quickstart" / "quickstart.yaml").is_file()
    check_proposals(python, tables)
