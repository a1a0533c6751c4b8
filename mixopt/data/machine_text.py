"""Text that every Python installation has, so that the quickstart runs offline (`kind: machine`).

Domains come from the standard library, licenses and package descriptions, and arithmetic from a seed;
benchmarks (`machine:NAME`) from installed packages, which are in no domain. A document is dropped as a
copy where more than a third of its text is long lines of an earlier one, over all texts, so that neither
the hold-out split nor a benchmark repeats training text.
"""

import ast
import email
import hashlib
import random
import re
import sysconfig
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path

from mixopt.data.document import Document
from mixopt.errors import DataError, did_you_mean

LONG_LINE = 40
"""Characters from which a repeated line counts as copied."""
COPIED_SHARE = 1 / 3
SHORTEST_DOCUMENT = 200
FILES_PER_PACKAGE = 40
"""Most files of one package, so that no large package dominates."""
PACKAGE_BYTES = 3_000_000
SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}
TEST_FOLDERS = {"tests", "test", "testing"}
ITEMS = 300
ITEMS_PER_DOCUMENT = 4
BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
"""Fields of syntax nodes that hold statements, in the order of every node that has several."""
DOCSTRING_OWNERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def read_machine_text(name: str, *, max_bytes: int, seed: int) -> Iterator[Document]:
    """Yield documents of the text called `name`, in an order that depends on their content only.

    Args:
        name: One of `TEXTS`.
        max_bytes: Stop after about so many bytes.
        seed: Seed of generated text.

    Raises:
        DataError: There is no such text, or this machine has none of it.
    """
    if name not in TEXTS:
        raise DataError(f"This machine has no text called {name!r}. {did_you_mean(name, TEXTS)}")
    generated = name == "arithmetic"
    documents = _generate_arithmetic(seed, max_bytes) if generated else _deduplicated()[name]
    taken = 0
    for document in documents:
        if taken >= max_bytes:
            break
        taken += len(document.text.encode())
        yield document
    if not taken:
        raise DataError(
            f"This machine has no text for {name!r}: the standard library or the installed "
            "distributions lack it; install mixopt in a virtual environment of its own."
        )


def read_machine_items(name: str) -> list[dict[str, object]]:
    """Make multiple-choice items from text of this machine.

    Args:
        name: One of `ITEM_TEXTS`.

    Returns:
        Items with `id`, `prompt`, `choices` and `answer`, at most 300.

    Raises:
        DataError: There are no such items, or this machine has too little text for them.
    """
    if name not in ITEM_TEXTS:
        raise DataError(f"This machine has no items {name!r}. {did_you_mean(name, ITEM_TEXTS)}")
    items = _continuation_choices(_deduplicated()[ITEM_TEXTS[name]], name)
    if len(items) < 2:
        raise DataError(
            f"This machine has too little text for the items {name!r}; install mixopt in a "
            "virtual environment of its own."
        )
    return items


@lru_cache(maxsize=1)
def _deduplicated() -> dict[str, list[Document]]:
    seen: set[int] = set()
    return {name: list(_drop_copies(_by_hash(read()), seen)) for name, read in _READERS.items()}


def _by_hash(documents: Iterable[Document]) -> list[Document]:
    """Sort documents by a hash of their group, so that any prefix is a random sample."""
    return sorted(documents, key=lambda d: (_digest(d.group), d.text))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _drop_copies(documents: Iterable[Document], seen: set[int]) -> Iterator[Document]:
    for document in documents:
        lines = [" ".join(line.lower().split()) for line in document.text.splitlines()]
        lines = [line for line in lines if len(line) >= LONG_LINE]
        keys = [_digest(line) for line in lines]
        total = max(1, sum(map(len, lines)))
        copied = sum(len(line) for line, key in zip(lines, keys, strict=True) if key in seen)
        if copied / total <= COPIED_SHARE and len(document.text) >= SHORTEST_DOCUMENT:
            seen.update(keys)
            yield document


@lru_cache(maxsize=1)
def _standard_library() -> list[tuple[str, str, str]]:
    root = Path(sysconfig.get_path("stdlib"))
    parsed = [(file.relative_to(root), _split_docstrings(file)) for file in _list_modules(root)]
    return [(path.as_posix(), *split) for path, split in parsed if split is not None]


def _list_modules(root: Path) -> list[Path]:
    files = root.rglob("*.py")
    return sorted(f for f in files if not SKIPPED_FOLDERS & set(f.relative_to(root).parts))


def _split_docstrings(file: Path) -> tuple[str, str] | None:
    """Return a module's source without docstrings, and its docstrings; None if it cannot be parsed."""
    try:
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        return None  # some modules are broken or in another encoding on purpose
    lines: list[str | None] = list(source.splitlines())
    docstrings = []
    for node in _walk_statements(tree):
        if not isinstance(node, DOCSTRING_OWNERS) or (docstring := ast.get_docstring(node)) is None:
            continue
        docstrings.append(docstring)
        quoted = node.body[0]
        for line in range(quoted.lineno - 1, quoted.end_lineno or quoted.lineno):
            lines[line] = None
    code = "\n".join(line for line in lines if line is not None)
    return code, "\n\n".join(text for text in docstrings if len(text) > 60)


def _walk_statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what `ast.walk` yields, in its order, without expressions: a tenth of the nodes."""
    waiting = deque[ast.AST]([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for field in BLOCKS:
            block = getattr(node, field, None)
            if isinstance(block, list):  # the body of a lambda is an expression
                waiting.extend(block)


def _reference_prose() -> Iterator[Document]:
    for path, _, docstrings in _standard_library():
        if docstrings:
            yield Document(docstrings, path)
    try:
        from pydoc_data import topics
    except ImportError:  # some distributions lack pydoc's data; the docstrings remain
        return
    for name, text in topics.topics.items():
        yield Document(text, f"pydoc topic {name}")


@lru_cache(maxsize=1)
def _distributions() -> list[tuple[str, metadata.Distribution]]:
    # broken installations leave folders without a name
    named = [(dist.metadata["Name"], dist) for dist in metadata.distributions()]
    by_name = {name.lower(): dist for name, dist in named if name}
    return sorted((name, dist) for name, dist in by_name.items() if name != "mixopt")


@cache
def _files(dist: metadata.Distribution) -> list[metadata.PackagePath]:
    return dist.files or []  # which parses the list of all files each time


def _licences() -> Iterator[Document]:
    for name, dist in _distributions():
        for file in _files(dist):
            last = file.name.lower()
            if "dist-info" not in str(file) or not last.startswith(("licen", "copying", "notice")):
                continue
            try:
                text = Path(str(dist.locate_file(file))).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue  # listed but not installed, or not UTF-8
            yield Document(text, f"{name}/{file.name}")


FENCED_CODE = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


@lru_cache(maxsize=1)
def _descriptions() -> list[tuple[str, str]]:
    # parsed here, because the importlib_metadata backport hides the text once it is imported
    files = ((name, dist.read_text("METADATA") or "") for name, dist in _distributions())
    return [(name, str(email.message_from_string(text).get_payload())) for name, text in files]


@lru_cache(maxsize=1)
def _packages() -> list[tuple[str, str, str]]:
    chosen: list[tuple[str, Path]] = []
    for name, dist in _distributions():
        files = [f for f in _files(dist) if f.suffix == ".py" and not TEST_FOLDERS & {*f.parts}]
        files.sort(key=lambda file: _digest(file.as_posix()))
        for listed in files[:FILES_PER_PACKAGE]:
            chosen.append((f"{name}:{listed.as_posix()}", Path(str(dist.locate_file(listed)))))
    chosen.sort(key=lambda pair: _digest(pair[0]))
    parsed, taken = [], 0
    for path, file in chosen:
        split = _split_docstrings(file)
        if split is not None:
            parsed.append((path, *split))
            taken += len(split[0])
        if taken > PACKAGE_BYTES:
            break
    return parsed


def _read_packages(column: int, half: int) -> Iterator[Document]:
    # one half is used as text, the other for multiple-choice items
    for row in _packages():
        if _digest(row[0]) % 2 == half:
            yield Document(row[column], row[0])


def _continuation_choices(documents: list[Document], name: str) -> list[dict[str, object]]:
    """Make items of a 24-word prompt, its next 8 words, and the next 8 words of three other prompts."""
    rng = random.Random(f"mixopt {name}")
    pairs = []
    for document in documents:
        words = re.findall(r"\S+\s*", document.text)
        for start in range(rng.randrange(20), len(words) - 32, 32)[:ITEMS_PER_DOCUMENT]:
            prompt = "".join(words[start : start + 24]).rstrip()
            pairs.append((document.group, prompt, "".join(words[start + 24 : start + 32]).strip()))
    items = []
    for index, (group, prompt, right) in enumerate(pairs[:ITEMS]):
        others = [pairs[i][2] for i in rng.sample(range(len(pairs)), min(8, len(pairs)))]
        wrong = [text for text in dict.fromkeys(others) if text != right][:3]
        if len(wrong) < 3:
            continue
        answer = rng.randrange(4)
        choices = [*wrong[:answer], right, *wrong[answer:]]
        items.append({"id": f"{name}/{index}/{group}", "prompt": prompt, "choices": choices,
                      "answer": answer})  # fmt: skip
    return items


def _generate_arithmetic(seed: int, max_bytes: int) -> Iterator[Document]:
    rng = random.Random(f"mixopt arithmetic {seed}")
    for number in range(max(1, max_bytes // 400)):
        text = "\n".join(_arithmetic_line(rng) for _ in range(24))
        yield Document(text, f"arithmetic {seed}/{number}")


def _arithmetic_line(rng: random.Random) -> str:
    kind = rng.randrange(5)
    a, b = rng.randrange(2, 10 ** rng.randrange(1, 4)), rng.randrange(2, 100)
    if kind == 0:
        return f"{a} + {b} = {a + b}, so {a + b} - {b} = {a}."
    if kind == 1:
        return f"{a} times {b} is {a * b}; half of {2 * a * b} is also {a * b}."
    if kind == 2:
        word = "more" if a > b else "less" if a < b else "neither more nor less"
        return f"{a} is {word} than {b}: the difference is {abs(a - b)}."
    if kind == 3:
        step = rng.randrange(2, 12)
        return f"Count from {a} by {step}: " + ", ".join(str(a + i * step) for i in range(6)) + "."
    return f"{a * b + a // 2} divided by {b} is {(a * b + a // 2) // b}, " + (
        f"remainder {(a * b + a // 2) % b}."
    )


_READERS: dict[str, Callable[[], Iterator[Document]]] = {
    "python_source": lambda: (Document(code, path) for path, code, _ in _standard_library()),
    "reference_prose": _reference_prose,
    "licences": _licences,
    "package_descriptions": lambda: (
        Document(FENCED_CODE.sub("", text), name) for name, text in _descriptions()
    ),
    "description_code": lambda: (
        Document("\n".join(FENCED_CODE.findall(text)), name) for name, text in _descriptions()
    ),
    "package_docstrings": lambda: _read_packages(2, 0),
    "package_source": lambda: _read_packages(1, 0),
    "choice_docstrings": lambda: _read_packages(2, 1),
    "choice_source": lambda: _read_packages(1, 1),
}
"""Readers in order: copies of an earlier text are dropped from a later one."""

TEXTS = ("arithmetic", *_READERS)
ITEM_TEXTS = {"docstring_choice": "choice_docstrings", "source_choice": "choice_source"}
