import ast
import asyncio
import enum
import typing
from pathlib import Path

import pytest
from machine import few_modules

from mixopt.config.loader import load_study
from mixopt.config.text import MachineTextConfig
from mixopt.data import machine_text
from mixopt.data.document import Document
from mixopt.data.machine_text import (
    ITEM_TEXTS,
    TEXTS,
    _generate_arithmetic,
    read_machine_items,
    read_machine_text,
)
from mixopt.data.sources import read_documents
from mixopt.errors import DataError

DOMAINS = ("python_source", "reference_prose", "licences", "package_descriptions", "arithmetic")


@pytest.fixture(scope="module", autouse=True)
def _few_modules():
    with few_modules():
        yield


def test_every_text_is_there_and_stops_at_its_size():
    for name in TEXTS:
        documents = list(read_machine_text(name, max_bytes=30_000, seed=0))
        assert documents, name
        total = sum(len(d.text.encode()) for d in documents[:-1])
        assert total < 30_000, name


def test_no_file_is_on_both_sides_of_a_domain():
    for name in DOMAINS:
        sides = [
            {
                d.group
                for d in read_documents(MachineTextConfig(kind="machine", name=name, part=part))
            }
            for part in ("train", "heldout")
        ]
        assert sides[0], name
        assert sides[1], name
        assert sides[0] & sides[1] == set(), name


def test_a_module_is_on_one_side_in_both_domains_it_is_in():
    """Docstrings of a held-out module would otherwise stand in the training source's domain."""
    sides = {}
    for name in ("python_source", "reference_prose"):
        for part in ("train", "heldout"):
            source = MachineTextConfig(kind="machine", name=name, part=part, max_bytes=10**8)
            sides[name, part] = {d.group for d in read_documents(source)}
    assert sides["python_source", "train"] & sides["reference_prose", "heldout"] == set()
    assert sides["python_source", "heldout"] & sides["reference_prose", "train"] == set()


def test_targets_share_no_long_line_with_training_text_beyond_the_bound():
    trained = set()
    for name in DOMAINS[:4]:
        for document in read_machine_text(name, max_bytes=10**8, seed=0):
            trained |= {" ".join(x.lower().split()) for x in document.text.splitlines()}
    trained = {line for line in trained if len(line) >= machine_text.LONG_LINE}
    for name in ("package_docstrings", "description_code", "package_source"):
        for document in read_machine_text(name, max_bytes=10**8, seed=0):
            lines = [" ".join(x.lower().split()) for x in document.text.splitlines()]
            lines = [line for line in lines if len(line) >= machine_text.LONG_LINE]
            copied = sum(len(x) for x in lines if x in trained)
            assert copied <= sum(map(len, lines)) / 3 + 1, document.group


def test_copies_are_dropped_even_with_another_name_on_them():
    body = "\n".join(
        f"this is line number {i} of a licence that everybody copies" for i in range(9)
    )
    copies = [Document(f"Copyright {who}\n{body}", who) for who in ("Ann", "Bob")]
    assert [d.group for d in machine_text._drop_copies(copies, set())] == ["Ann"]


def test_docstrings_are_taken_out_of_the_source(tmp_path):
    file = tmp_path / "m.py"
    text = "A docstring long enough to be kept as prose, for it says quite a lot of things."
    file.write_text(f'"""{text}"""\n\nX = 1\n\n\ndef f():\n    """{text} Again."""\n    return X\n')
    code, prose = machine_text._split_docstrings(file)
    assert "docstring" not in code
    assert "return X" in code
    assert prose.count("quite a lot") == 2


def test_statements_are_walked_in_the_order_of_the_standard_walk():
    owners = machine_text.DOCSTRING_OWNERS
    for file in (ast.__file__, enum.__file__, typing.__file__, asyncio.tasks.__file__):
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
        walked = list(machine_text._walk_statements(tree))
        wanted = [node for node in ast.walk(tree) if isinstance(node, owners)]
        assert [node for node in walked if isinstance(node, owners)] == wanted
        assert 4 * len(walked) < len(list(ast.walk(tree)))
    every = """
match x:
    case 1:
        def a(): pass
try:
    def b(): pass
except* OSError:
    def c(): pass
else:
    class D: pass
finally:
    async def e(): pass
with f() as g, h(lambda: 0):
    while True:
        def i(): pass
    else:
        def j(): pass
"""
    tree = ast.parse(every)
    wanted = [node for node in ast.walk(tree) if isinstance(node, owners)]
    assert [n for n in machine_text._walk_statements(tree) if isinstance(n, owners)] == wanted
    assert len(wanted) == 8


def test_files_that_cannot_be_parsed_are_passed_over(tmp_path):
    (tmp_path / "bad.py").write_text("def (:")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'")
    assert machine_text._split_docstrings(tmp_path / "bad.py") is None
    assert machine_text._split_docstrings(tmp_path / "latin.py") is None


def test_arithmetic_is_right_and_follows_its_seed():
    first = next(iter(_generate_arithmetic(0, 1000))).text
    assert first == next(iter(_generate_arithmetic(0, 1000))).text
    assert first != next(iter(_generate_arithmetic(1, 1000))).text
    checked = 0
    for document in _generate_arithmetic(0, 20_000):
        for line in document.text.splitlines():
            if " + " in line:
                left, right = line.split(",")[0].split(" = ")
                assert sum(map(int, left.split(" + "))) == int(right)
                checked += 1
    assert checked > 50


def test_items_have_one_right_choice_among_four():
    for name in ITEM_TEXTS:
        items = read_machine_items(name)
        assert len(items) > 50
        for item in items:
            assert len(set(item["choices"])) == 4
            assert 0 <= item["answer"] < 4
        answers = [item["answer"] for item in items]
        assert all(
            answers.count(i) > len(items) / 10 for i in range(4)
        )  # no position gives it away


def test_descriptions_do_not_depend_on_who_imported_what():
    """The importlib_metadata backport, once imported, hides descriptions from get_payload()."""
    pytest.importorskip("importlib_metadata")
    machine_text._descriptions.cache_clear()
    texts = [text for _, text in machine_text._descriptions()]
    assert sum(map(len, texts)) > 100_000


def test_unknown_text_is_named():
    with pytest.raises(DataError, match="Did you mean 'licences'"):
        list(read_machine_text("licenses", max_bytes=10, seed=0))


def test_quickstart_uses_only_texts_that_exist():
    recipe = load_study("quickstart")
    assert [expert.text.name for expert in recipe.experts] == sorted(DOMAINS)
