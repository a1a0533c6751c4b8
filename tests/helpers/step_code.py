"""Which files are the code of which step, and a hash of each without comments and docstrings.

python tests/step_code.py      records the files as they are, for the versions as they are
"""

import ast
import hashlib
import io
import json
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent / "mixopt"
RECORD = Path(__file__).with_name("step_code.json")

FILES = {
    "tokenizing": ["proxies/corpus", "proxies/tokenizing", "proxies/documents", "proxies/sources",
                   "proxies/machine_text", "proxies/study_texts", "proxies/overlap",
                   "proxies/models"],
    "training": ["proxies/training", "proxies/resuming", "proxies/averaging", "proxies/launching",
                 "proxies/laboratory", "proxies/workshop", "proxies/base", "proxies/models",
                 "proxies/corpus"],
    "merging": ["proxies/merging", "proxies/checkpoints", "proxies/experts", "proxies/renaming",
                "proxies/assembling", "proxies/skeleton", "proxies/activations",
                "proxies/streaming", "proxies/engines", "proxies/base", "proxies/models"],
    "scoring": ["proxies/scoring", "proxies/scores", "proxies/candidates", "proxies/swarm",
                "proxies/slopes", "proxies/rows", "proxies/ensembling", "proxies/responding",
                "proxies/overlap", "proxies/tasks/*"],
    "estimating": ["proxies/estimating", "proxies/subsets"],
    "fitting": ["learning", "proposals/fitting", "proposals/levels", "proposals/portfolio",
                "proposals/calibration", "proposals/surrogate", "proposals/utility",
                "proposals/reliability", "proposals/ranking", "proposals/keeping",
                "proposals/optimising", "proposals/threads", "proposals/surrogates/*"],
    "proposing": ["recommending", "verifying", "space", "limits", "proposal", "proposals/proposing",
                  "proposals/climbing", "proposals/assessing", "proposals/guarding",
                  "proposals/repetition", "proposals/error_law", "proposals/polytope",
                  "proposals/weights"],
    "exporting": ["delivering", "budget", "schedule", "exporters/*"],
    "staging": ["staging"],
}  # fmt: skip
"""By step, relative to the package and without `.py`."""

MAKE_NO_UNIT = {
    # which mixtures come next is told by their own keys
    "proposals/design", "proposals/optimal_design", "proposals/ascending",
    # of tables, and of what is told
    "proposals/advising", "proposals/from_table", "proposals/fidelity", "proposals/spending",
    "proxies/capability_text", "proxies/disk_merging",
}  # fmt: skip
DESCRIBED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
WINGS = ("proxies", "proposals", "exporters")


def files_of(step: str) -> list[str]:
    """The files of a step."""
    found = [path for name in FILES[step] for path in ROOT.glob(f"{name}.py")]
    return sorted(str(path.relative_to(ROOT).with_suffix("")) for path in found)


def hash_code(name: str) -> str:
    """A hash of a file's code: its tokens and indents, without comments and docstrings."""
    text = (ROOT / f"{name}.py").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    told = set()
    for node in ast.walk(ast.parse(text)):
        for inner in node.body if isinstance(node, DESCRIBED) else []:
            if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant):
                told |= set(range(inner.lineno, inner.end_lineno + 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    code = [line.rstrip() for number, line in enumerate(lines, 1) if number not in told]
    kept = "\n".join(line for line in code if line)
    return hashlib.blake2b(kept.encode(), digest_size=8).hexdigest()


def main() -> None:
    sys.path.insert(0, str(ROOT.parent))
    from mixopt.artifacts.code_versions import STEPS

    every = sorted({name for step in FILES for name in files_of(step)})
    record = {"versions": dict(STEPS), "files": {name: hash_code(name) for name in every}}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
