"""Hypothesis strategies that spoil a file: values replaced where it has structure, bytes anywhere."""

import json
import math

import yaml
from hypothesis import strategies as st

NASTY = [
    None, True, False, 0, -1, 1 << 63, 10**400, 1e308, -1e308, math.nan, math.inf, -math.inf, "", " ",
    "\x00", "a\nb", "\ud800", "a" * 5000, "../../../etc/passwd", "/etc/passwd", "unit:x-1/../../y",
    "!!python/object/apply:os.system ['true']", "os:system", "{{ 9**99999 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ ().__class__.__base__.__subclasses__() }}", "http://localhost:9/x", "3e-4", "1_000", "ı",
    [], {}, [[]], {"": 0}, [None], {"a": {"a": {"a": {}}}}, list(range(100)),
]  # fmt: skip
"""What somebody has put where it does not belong."""
RAW = [
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"[\n" * 20_000, b'{"a":' * 20_000, b"- " * 5_000,
    b"a: &a [*a]\n", b"a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
    b"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
    b"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
    b"g: [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n", b"a: 1\na: 2\n", b"!!python/name:os.system ''",
    b"9" * 5_000, b'"\\ud800"', b"PK\x03\x04", b"\x80\x04\x95", b"\x1f\x8b\x08", b"PAR1" * 3,
]  # fmt: skip


def spoiled(right: bytes, *, structured: bool) -> st.SearchStrategy[bytes]:
    """Files that are nearly `right`, and some that are nothing like it."""
    ways = [spoiled_bytes(right), st.sampled_from(RAW), st.binary(max_size=200)]
    if structured:
        ways += [spoiled_values(right)] * 3
    return st.one_of(ways)


@st.composite
def spoiled_bytes(draw: st.DrawFn, right: bytes) -> bytes:
    """Bytes flipped, cut out, doubled, or put in."""
    content = bytearray(right)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        way = draw(st.sampled_from(["flip", "cut", "drop", "double", "put"]))
        if way == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif way == "cut":
            del content[at:]
        elif way == "drop":
            del content[at : at + draw(st.integers(1, 20))]
        elif way == "double":
            content[at:at] = content[at : at + draw(st.integers(1, 60))]
        else:
            content[at:at] = draw(st.one_of(st.binary(max_size=12), st.sampled_from(RAW[:8])))
    return bytes(content)


@st.composite
def spoiled_values(draw: st.DrawFn, right: bytes) -> bytes:
    """A value, a key or a whole branch replaced by what does not belong there."""
    try:
        lines = [json.loads(line) for line in right.splitlines() if line.strip()]
        plain, kind = (lines, "lines") if len(lines) > 1 else (lines[0], "json")
    except ValueError:
        plain, kind = yaml.safe_load(right), "yaml"
    for _ in range(draw(st.integers(1, 3))):
        plain = _replace(draw, plain)
    if kind == "yaml":
        return yaml.safe_dump(plain, allow_unicode=False).encode("utf-8", "surrogatepass")
    if kind == "lines" and isinstance(plain, list):
        return "\n".join(json.dumps(line) for line in plain).encode("utf-8", "surrogatepass")
    return json.dumps(plain).encode("utf-8", "surrogatepass")


def _replace(draw: st.DrawFn, plain: object) -> object:
    """The same with one thing in it spoiled."""
    value = st.one_of(st.sampled_from(NASTY), st.integers(), st.floats(), st.text(max_size=8))
    if isinstance(plain, dict) and plain and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(plain, key=str)))
        way = draw(st.sampled_from(["inside", "inside", "inside", "drop", "rename", "add"]))
        if way == "drop":
            return {name: inner for name, inner in plain.items() if name != key}
        if way == "rename":
            other = draw(st.sampled_from(["", "a\nb", "\u00e9", "nmae", "a" * 300]))
            return {other if name == key else name: inner for name, inner in plain.items()}
        if way == "add":
            return {**plain, draw(st.text(min_size=1, max_size=6)): draw(value)}
        return {**plain, key: _replace(draw, plain[key])}
    if isinstance(plain, list) and plain and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(plain) - 1))
        return [*plain[:at], _replace(draw, plain[at]), *plain[at + 1 :]]
    return draw(value)
