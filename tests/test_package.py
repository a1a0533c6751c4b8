import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert mixopt.__all__ == ["__version__", *sorted(mixopt._PUBLIC)]
    for name in mixopt.__all__:
        assert getattr(mixopt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Mixtur'"):
        _ = mixopt.Mixtur


def test_type_checkers_see_what_is_exported():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {name.asname: node.module for node in block.body for name in node.names}
    assert seen | {"plots": "mixopt.report.plots"} == mixopt._PUBLIC
    assert (ROOT / "py.typed").is_file()


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


def public_callables():
    """Public functions, classes and methods reachable from the package, with their full names."""
    for name in sorted(mixopt._PUBLIC):
        found = getattr(mixopt, name)
        if not inspect.ismodule(found):  # `plots` is one
            yield name, found
        for key, inner in vars(found).items() if not inspect.isfunction(found) else ():
            inner = inner.__func__ if isinstance(inner, classmethod | staticmethod) else inner
            if inspect.ismodule(found) and getattr(inner, "__module__", "") != found.__name__:
                continue  # what the module imports
            if not key.startswith("_") and (
                inspect.isfunction(inner) or isinstance(inner, property)
            ):
                yield f"{name}.{key}", inner


def lacks(name, found):
    """What the docstring of a public name does not say."""
    doc = inspect.getdoc(found)
    if not doc or doc.startswith(f"{name}("):  # a dataclass without a docstring has its signature
        return ["a docstring"]
    if isinstance(found, property) or (inspect.isclass(found) and issubclass(found, Exception)):
        return []
    owner = found.__init__ if inspect.isclass(found) else found
    signature = inspect.signature(owner)
    parameters = [p for p in signature.parameters if p not in ("self", "cls")]
    # a method may name its parameters in its sentence, and need not name a single one
    section = re.search(r"(?ms)^(Args|Attributes):\n(.*?)(?=^\w|\Z)", doc)
    told = section.group(2) if section else doc if "." in name else ""
    if "." in name and not section and len(parameters) == 1:
        parameters = []
    missing = [p for p in parameters if not re.search(rf"\b{p}\b", told)]
    returns = signature.return_annotation not in (None, "None", inspect.Signature.empty)
    if returns and not inspect.isclass(found):
        said = re.search(r"(?m)^(Returns|Yields):", doc) or re.match(
            r"(Return|Fit|Yield|Draw|Plot|Read)\b", doc
        )
        missing += [] if said else ["Returns"]
    if dataclasses.is_dataclass(found):  # whose __init__ has no source
        owner = getattr(found, "__post_init__", None)
    source = inspect.getsource(inspect.unwrap(owner)) if inspect.isfunction(owner) else ""
    raises = re.findall(r"^\s+raise (\w+Error)\b", source, re.M)
    return missing + [error for error in raises if error not in doc]


def test_every_public_docstring_says_arguments_results_and_errors():
    names = dict(public_callables())
    assert {"propose", "Trials.from_frame", "Mixture.vector", "Study.load"} <= set(names)
    lacking = {name: missing for name, found in names.items() if (missing := lacks(name, found))}
    assert lacking == {}


def test_the_check_of_docstrings_finds_what_is_missing():
    def documented(first: int, second: int) -> int:
        """Return a sum.

        Args:
            first: One.
            second: Other.

        Raises:
            ValueError: Never.
        """
        raise ValueError

    def bare(first: int, second: int) -> int:
        """Add."""
        raise TypeError

    assert lacks("documented", documented) == []
    assert lacks("bare", bare) == ["first", "second", "Returns", "TypeError"]


WITHOUT_TORCH = (
    "artifacts", "baselines", "callbacks", "cli", "config", "data", "executors", "exporters", "io",
    "optimization", "report", "surrogates", "tables",
)  # fmt: skip


def test_what_needs_no_torch_is_imported_without_fcntl():
    """Windows has no fcntl."""
    modules = [
        ".".join(file.relative_to(ROOT.parent).with_suffix("").parts)
        for package in ("", *WITHOUT_TORCH)
        for file in sorted((ROOT / package).glob("*.py"))
        if file.name not in ("__init__.py", "__main__.py")
    ]
    assert len(modules) > 100
    code = "import importlib, sys; sys.modules['fcntl'] = None; import mixopt\n"
    code += f"for name in {modules}: importlib.import_module(name)\n"
    assert run(code + "print('torch' in sys.modules)") == "False"


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


def test_progress_bars_write_nothing_into_log_files():
    """`disable=None` of tqdm: no bar where the output is no terminal (CI, SLURM, pipes).

    All work that lasts reports to one module, where the only bar is.
    """
    bars = []
    for file in ROOT.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Name)
                and call.func.id == "tqdm"
            ):
                given = {keyword.arg: keyword.value for keyword in call.keywords}
                where = f"{file.name}:{call.lineno}"
                assert isinstance(given.get("disable"), ast.Constant), where
                assert given["disable"].value is None, where
                bars.append(file.name)
    assert bars == ["progress.py"]
