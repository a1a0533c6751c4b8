import pytest
import yaml

from mixopt.errors import one_line
from mixopt.io.parsing import load_json, load_yaml, require_printable, show


@pytest.mark.parametrize(("text", "why"), [
    ("[" * 100_000, "nested too deeply"),
    ('{"a": ' + "9" * 5000 + "}", "5,000 digits"),
    ('{"a": "\\ud800"}', "half a character"),
    ('{"a": ', "Expecting value"),
])  # fmt: skip
def test_json_that_nobody_can_use(text, why):
    for form in (text, text.encode()):
        with pytest.raises(ValueError, match=why):
            load_json(form)


def test_json_that_is_fine():
    assert load_json('{"a": [1, 2.5, null, "\\ud83d\\ude00"]}') == {
        "a": [1, 2.5, None, "\U0001f600"]
    }
    assert load_json(b'{"n": 9007199254740993}') == {"n": 9007199254740993}


NAMES = list(zip("abcdefgh", "bcdefghi", strict=True))
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in NAMES
)
MERGED = "a: &a {k: 1}\n" + "".join(
    f"{name}: &{name}\n  <<: [{', '.join([f'*{before}'] * 10)}]\n" for before, name in NAMES
)


@pytest.mark.parametrize(("text", "why"), [
    (BOMB, "expand to more"),
    (MERGED, "expand to more"),
    ("a: &a [*a]", "contains itself"),
    ("a: &a {b: *a}", "contains itself"),
    ("[" * 20_000, "nested too deeply"),
    ("a: " + "9" * 5000, "5,000 digits"),
    ('a: "\\ud800"', "half a character"),
])  # fmt: skip
def test_yaml_that_nobody_can_use(text, why):
    with pytest.raises(ValueError, match=why):
        load_yaml(text)


def test_yaml_is_data_and_its_keys_stand_once():
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.system ['true']")
    with pytest.raises(yaml.YAMLError, match="'a' is given twice"):
        load_yaml("a: 1\na: 2")
    assert load_yaml("a: 1\na: 2", unique=False) == {"a": 2}
    assert load_yaml("a: &a [1]\nb: *a") == {"a": [1], "b": [1]}
    assert load_yaml("") is None


def test_booleans_are_true_and_false_alone():
    """`no` is Norwegian."""
    assert load_yaml("no: .3\nlang: [no, da, on]\na: yes") == {
        "no": 0.3, "lang": ["no", "da", "on"], "a": "yes"
    }  # fmt: skip
    assert load_yaml("[true, False, TRUE, Truest]") == [True, False, True, "Truest"]


@pytest.mark.parametrize("text", ["b: &b {x: 1}\na:\n  <<: *b\n  x: 2\nc:\n  <<: *b",
                                  "a: &a\n  <<: &b {x: 1}\n  x: 2\nc:\n  <<: *a\n  x: 3"])  # fmt: skip
def test_a_merge_key_gives_no_key_twice(text):
    plain = load_yaml(text)
    assert plain["a"] == {"x": 2}
    with pytest.raises(yaml.YAMLError, match="'x' is given twice"):
        load_yaml(f"{text}\nd: [{{x: 1, x: 2}}]")


def test_messages_repeat_little_and_in_one_line():
    assert show("a\nb") == "'a\\nb'"
    assert len(show("x" * 10_000)) < 100
    assert one_line(ValueError("one\n  two")) == "one two"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 10_000))) < 300
    assert len(one_line(ValueError("x" * 10_000), limit=None)) == 10_000


def test_control_characters_are_found_anywhere():
    require_printable({"a": ["b", {"c": "d\u00e9"}], "n": 3})
    require_printable({"a": "b\n"}, allowed="\n")
    for plain in ({"a": ["\x07"]}, {"\x9b": 1}, ("a", "\n")):
        with pytest.raises(ValueError, match="has the control character"):
            require_printable(plain)
