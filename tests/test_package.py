import subprocess
import sys
from pathlib import Path

import mixopt

ROOT = Path(mixopt.__file__).parent


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_import_loads_neither_torch_nor_mlflow():
    heavy = "torch transformers peft mlflow pandas sklearn lightgbm scipy pydantic numpy"
    code = f"import sys, mixopt; print([m for m in '{heavy}'.split() if m in sys.modules])"
    assert run(code) == "[]"


def test_proposals_from_tables_load_no_torch():
    code = "import sys, mixopt; mixopt.fit, mixopt.propose, mixopt.read_trials, mixopt.export; "
    assert (
        run(code + "print([m for m in ('torch', 'mlflow', 'transformers') if m in sys.modules])")
        == "[]"
    )


def test_study_itself_loads_torch_only_when_it_works():
    code = "import sys, mixopt; mixopt.Study.load('quickstart'); print('torch' in sys.modules)"
    assert run(code) == "False"


def test_all_is_what_is_exported():
    assert set(mixopt.__all__) == set(mixopt._PUBLIC) | {"__version__"}
    for name in mixopt.__all__:
        assert getattr(mixopt, name) is not None


def test_modules_and_tests_have_the_same_tree():
    tests = Path(__file__).parent
    missing = []
    for module in ROOT.rglob("*.py"):
        place = module.relative_to(ROOT)
        if place.name == "__init__.py" or "_quickstart" in place.parts:
            continue
        if not (tests / place.parent / f"test_{place.name}").exists():
            missing.append(str(place))
    assert missing == []


def test_every_public_docstring_is_there():
    # ruff's D rules hold for modules; here: every public noun and verb says what comes back
    for name in set(mixopt.__all__) - {"__version__"}:
        doc = getattr(mixopt, name).__doc__
        assert doc, name
        assert len(doc) > 20, name


def test_every_trainer_with_an_environment_of_its_own_is_tested_in_it():
    folder = ROOT.parent / "tests" / "exporters"
    trainers = [file.stem for file in (folder / "requirements").glob("*.txt")]
    told = subprocess.run(
        ["make", "-n", "test-exports"], cwd=ROOT.parent, capture_output=True, text=True, check=True
    ).stdout
    assert len(trainers) == 5
    for trainer in trainers:
        assert f"tests/exporters/test_{trainer}.py" in told
        assert (folder / f"test_{trainer}.py").is_file()
