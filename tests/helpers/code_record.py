"""A hash of the code of each package that makes artifacts, without comments and docstrings.

python tests/helpers/code_record.py      records the code as it is, for the versions as they are
"""

import ast
import hashlib
import io
import json
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent / "mixopt"
RECORD = Path(__file__).with_name("code_record.json")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def hash_package(package: str) -> str:
    """A hash of the names and code of a package's files."""
    files = ROOT.glob("*.py") if package == "types" else (ROOT / package).rglob("*.py")
    code = {file.relative_to(ROOT).as_posix(): _code(file) for file in sorted(files)}
    return hashlib.blake2b(json.dumps(code, sort_keys=True).encode(), digest_size=8).hexdigest()


def _code(file: Path) -> str:
    """The lines of a file without comments, docstrings and empty lines."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        for inner in node.body if isinstance(node, DOCUMENTED) else []:
            if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant):
                left_out |= set(range(inner.lineno, inner.end_lineno + 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    code = [line.rstrip() for number, line in enumerate(lines, 1) if number not in left_out]
    return "\n".join(line for line in code if line)


def record() -> dict[str, dict[str, int | str]]:
    """Version and hash of each package, as they are now."""
    sys.path.insert(0, str(ROOT.parent))
    from mixopt.artifacts.code_versions import VERSIONS

    return {name: {"version": n, "code": hash_package(name)} for name, n in VERSIONS.items()}


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(), indent=1) + "\n")
