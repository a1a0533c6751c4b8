import time
import tracemalloc

import pytest

from mixopt.errors import DataError
from mixopt.evaluation.tasks.template import Template

ROW = {"prompt": "a", "choices": ["one", "two"], "question": {"text": "why"}, "n": 3}


def write(text, row=ROW):
    return Template(text, "c").write(row, "file, line 3")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ prompt.__class__.__mro__ }}", "unsafe"),
        ("{{ prompt + 1 }}", "cannot be filled in"),
        ("{% for i in range(10**9) %}x{% endfor %}", "cannot be filled in"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_told_with_its_place(text, words):
    with pytest.raises(DataError, match=words) as caught:
        Template(text, "c").write(ROW, "file, line 3")
    assert str(caught.value).startswith("file, line 3: ")


def test_a_template_that_is_no_jinja_is_told():
    with pytest.raises(DataError, match="not valid Jinja"):
        Template("{{ prompt", "c")


@pytest.mark.parametrize(("text", "made"), [
    ("{{ prompt }}{{ n }}", "a3"),
    ("{% for c in choices %}{{ loop.index }}. {{ c }}{% if not loop.last %}, {% endif %}{% endfor %}",
     "1. one, 2. two"),
    ("{{ choices | join(', ') }} {{ ', '.join(choices) }}", "one, two one, two"),
    ("{{ question.text | upper }}{{ question['text'][::-1] }}", "WHYyhw"),
    ("{{ prompt ~ n ~ choices[0] }}", "a3one"),
    ("{{ prompt.replace('a', 'bb') | replace('b', 'c') }}", "cc"),
    ("{% set ns = namespace(i=0) %}{% for c in choices %}{% set ns.i = ns.i + c | length %}{% endfor %}"
     "{{ ns.i }}", "6"),
    ("{{ choices }} {{ (1, 2) }} {{ {'a': n * 2} }}", "['one', 'two'] (1, 2) {'a': 6}"),
    ("{{ 'x' * 3 }}{{ 2 ** 10 }}{{ 7 % 4 }}{{ (7 / 2) | round(1) }}", "xxx102433.5"),
    ("{% for i in range(3) %}{{ 'ABC'[i] }}{% endfor %}", "ABC"),
    ("{{ choices | map('upper') | list | last }}{{ missing | default('-') }}", "TWO-"),
    ("{% set x %}{{ prompt }}!{% endset %}{{ x | trim }}", "a!"),
    ("{% for k, v in question.items() %}{{ k }}={{ v }}{% endfor %}", "text=why"),
    ("{{ choices.index('two') }}{{ prompt is defined }}{{ 'b' in prompt }}", "1TrueFalse"),
])  # fmt: skip
def test_what_prompts_are_made_of(text, made):
    assert write(text) == made


def test_long_items_have_long_prompts():
    text = "word " * 500_000
    assert write("Q: {{ prompt | trim }}\nA:", {"prompt": text}) == f"Q: {text.strip()}\nA:"


DOUBLED = "".join("{% set x = x OP x %}" for _ in range(60))
SWELLING = {
    "sum": "{% set x = prompt %}" + DOUBLED.replace("OP", "+") + "{{ x }}",
    "concatenation": "{% set x = prompt %}" + DOUBLED.replace("OP", "~") + "{{ x }}",
    "list": "{% set x = [prompt] %}" + DOUBLED.replace("OP", "+") + "{{ x | length }}",
    "product": "{% set x = 7 %}" + DOUBLED.replace("OP", "*") + "{{ x }}",
    "nested": "{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    "compared": "{% set x = [1] %}{% set y = [1] %}" + "{% set x = [x, x] %}{% set y = [y, y] %}" * 60
                + "{{ x == y }}",
    "replace": "{% set x = 'aa' %}" + "{% set x = x | replace('a', x) %}" * 60 + "{{ x }}",
    "method": "{% set x = 'aa' %}" + "{% set x = x.replace('a', x) %}" * 60 + "{{ x }}",
    "join": "{% set x = 'aa' %}" + "{% set x = x | join(x) %}" * 60 + "{{ x }}",
    "joined": "{% set x = 'aa' %}" + "{% set x = x.join(x) %}" * 60 + "{{ x }}",
    "times": "{{ ('a' * 1000000) * 1000000 }}",
    "negative": "{{ [prompt] * 900000000000 }}",
    "ranges": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{{ c }}"
              "{% endfor %}{% endfor %}{% endfor %}",
    "silent": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "filtered": "{% for a in range(99999) %}{% for b in range(99999) if b < 0 %}{% endfor %}"
                "{% endfor %}",
    "work": "{% set x = 'ab' * 100000 %}{% for a in range(99999) %}{% set y = x | upper %}{% endfor %}",
    "mapped": "{% set x = ['a' * 1000] * 1000 %}"
              "{{ x | map('replace', 'a', 'b' * 1000) | list | length }}",
    "block": "{% set x = 'a' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60 + "{{ x }}",
    "power": "{{ 99 ** 99 ** 99 }}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "bytes": "{{ n.to_bytes(999999999, 'big') }}",
    "justified": "{{ prompt.ljust(999999999) }}",
    "translated": "{{ prompt.translate({97: 'a' * 1000000}) }}",
    "batch": "{{ choices | batch(999999999, 'x') | list }}",
    "macro": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "recursive": "{% for a in choices recursive %}{{ loop(choices) }}{% endfor %}",
    "include": "{% include 'x' %}",
    "block call": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "long": "a" * 200_000,
    "deep": "(" * 20_000,
    "nested expression": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
}  # fmt: skip


@pytest.mark.parametrize("kind", SWELLING)
def test_templates_that_swell_or_never_end_are_refused(kind):
    tracemalloc.start()
    start = time.process_time()
    try:
        if kind == "deep":
            assert write(SWELLING[kind]) == SWELLING[kind]
        else:
            with pytest.raises(
                DataError, match="cannot be filled in|not valid Jinja|characters; write"
            ):
                write(SWELLING[kind])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 << 20
    assert time.process_time() - start < 60


def test_time_is_limited_too(monkeypatch):
    monkeypatch.setattr("mixopt.evaluation.tasks.template.TIMEOUT_S", -1.0)
    with pytest.raises(DataError, match="it takes more than"):
        write("{{ prompt }}")
