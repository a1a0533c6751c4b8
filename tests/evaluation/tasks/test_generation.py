from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy
from models_for_tests import model, tokenizer
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from mixopt.config.benchmarks import GenerationConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.generation import GenerationTask, _estimate_pass_at_k, _last_number

CONTEXT = 32


def build(path, rows, *, run_code=False, **says):
    toy.write_jsonl(path / "g.jsonl", rows)
    recipe = GenerationConfig(
        name="g", kind="generation", items=str(path / "g.jsonl"), max_new_tokens=4, **says
    )
    return GenerationTask(recipe, TaskContext(tokenizer(), CONTEXT, run_code))


ROWS = [
    {"prompt": "the small bird", "target": " sings"},
    {"prompt": "one and two make three but", "target": " two"},
    {"prompt": "grey ship", "target": " owl"},
]


def greedy(network, prompt, length=4):
    """What the model writes, one token at a time and without a cache."""
    tokens = [TaskContext(tokenizer(), CONTEXT).separator]
    tokens += tokenizer()(prompt, add_special_tokens=False)["input_ids"]
    start = len(tokens)
    with torch.no_grad():
        for _ in range(length):
            logits = network(input_ids=torch.tensor([tokens])).logits
            tokens.append(int(logits[0, -1].argmax()))
            if tokens[-1] == tokenizer().eos_token_id:
                break
    return tokenizer().decode(tokens[start:], skip_special_tokens=True)


def test_one_sample_is_the_likeliest_text_whatever_it_is_batched_with(tmp_path):
    network = model().eval()
    rows = [row | {"target": greedy(network, row["prompt"]) or "?"} for row in ROWS]
    task = build(tmp_path, rows, stop=["never"])
    random_state = torch.get_rng_state()
    assert task.measure(network).values.tolist() == [1, 1, 1]
    assert torch.equal(torch.get_rng_state(), random_state)  # nothing was drawn
    rows[1]["target"] = "something else"
    assert build(tmp_path, rows, stop=["never"]).measure(network).values.tolist() == [1, 0, 1]
    assert task.metric.better == "higher"


@pytest.mark.parametrize("says", [{}, {"samples": 4, "temperature": 2.0}])
def test_a_base_s_own_settings_of_generation_change_nothing(tmp_path, says):
    """Only what ends a text is the base's."""
    task = build(tmp_path, ROWS, stop=["never"], **says)
    expected = list(task._complete(model()))
    network = model()
    own = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "top_p": 0.1, "min_p": 0.9,
           "temperature": 0.01, "top_k": 1, "do_sample": True, "suppress_tokens": [1, 2, 3]}  # fmt: skip
    network.generation_config.update(**own)
    before = network.generation_config
    assert list(task._complete(network)) == expected
    assert network.generation_config is before
    assert network.generation_config.top_p == 0.1
    # every token is an end of the text: a completion is the first token of the one from before
    network.generation_config.eos_token_id = list(range(300))
    first = list(task._complete(network))
    assert first != expected
    assert all(whole.startswith(one) for (_, one), (_, whole) in zip(first, expected, strict=True)
               if "\N{REPLACEMENT CHARACTER}" not in one)  # fmt: skip


def test_an_indented_completion_keeps_its_first_space():
    """The decoder of Llama 2, Mistral and Phi-3 removes the first space of a text."""
    words = ["def", "f():", "\n", "▁▁", "return", "▁1"]
    plain = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="def"))
    plain.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    task = GenerationTask.__new__(GenerationTask)
    own = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="def")
    task._context = TaskContext(own, CONTEXT)
    assert own.decode([3, 4, 5]) == " return 1"
    assert task._decode([0, 1, 2], [3, 4, 5]) == "  return 1"
    assert task._decode([3, 4], [2, 3, 4, 5]) == "\n  return 1"


def test_a_completion_ends_before_the_first_stop(tmp_path):
    task = build(tmp_path, ROWS, stop=["\n", "."])
    assert task._cut("a. b\nc") == "a"
    assert task._cut("a b") == "a b"


class Writer:
    """Stands for a model that writes given tokens after each prompt, and ends a text with token 1."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, written, ends=1):
        from transformers import GenerationConfig as Settings

        self.written, self.generation_config = written, Settings(eos_token_id=ends)

    def eval(self):
        return self

    def generate(self, tokens, *, output_logits=False, **settings):
        if output_logits:
            return SimpleNamespace(logits=[torch.zeros(len(tokens), 6)] * 2)
        return torch.cat([tokens, torch.tensor([self.written] * len(tokens))], 1)


def chat_task(stop):
    """A task whose tokenizer has two special tokens, `<eos>` and `<|im_end|>`."""
    words = ["<bos>", "<eos>", "<|im_end|>", "two", "ships", "."]
    plain = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="two"))
    plain.decoder = decoders.Fuse()
    task = GenerationTask.__new__(GenerationTask)
    own = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<bos>", eos_token="<eos>")
    own.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    task._context, task._prompts = TaskContext(own, CONTEXT), [[0, 3], [0, 4, 3]]
    task._config = GenerationConfig(name="g", kind="generation", items="x", stop=stop)
    return task


@pytest.mark.parametrize(
    ("stop", "written", "text"),
    [
        (["<|im_end|>"], [3, 2, 4, 5], "two"),
        (["ships<|im_end|>"], [3, 4, 2, 5], "two"),
        ([".<|im_end|>"], [3, 2, 4, 5], "twoships."),
        (["."], [3, 1, 4, 5], "two"),
        (["<eos>"], [3, 4, 1, 0], "twoships"),
    ],
)
def test_special_tokens_stop_a_completion_and_are_no_part_of_it(stop, written, text):
    assert list(chat_task(stop)._complete(Writer(written))) == [(0, text), (1, text)]
    assert list(chat_task(stop)._complete(Writer(written, ends=[1, 7]))) == [(0, text), (1, text)]


def test_of_a_model_without_an_end_the_stops_count_alone():
    assert list(chat_task(["."])._complete(Writer([3, 1, 4, 5], ends=None)))[0] == (0, "twoships")


def test_samples_are_the_same_for_the_same_seed_and_disturb_no_other_draws(tmp_path):
    network = model()
    task = build(tmp_path, ROWS, samples=8, k=2, temperature=2.0)
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    first = list(task._complete(network))
    assert torch.equal(torch.rand(3), wanted)
    assert first == list(task._complete(network))
    assert sorted(place for place, _ in first) == [0] * 8 + [1] * 8 + [2] * 8
    assert len({text for place, text in first if place == 0}) > 1
    other = build(tmp_path, ROWS, samples=8, k=2, temperature=2.0, seed=1)
    assert first != list(other._complete(network))


@pytest.mark.parametrize(("n", "right", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 2), (6, 6, 6)])
def test_pass_at_k_is_the_share_of_draws_with_one_that_is_right(n, right, k):
    draws = list(combinations(range(n), k))
    share = np.mean([any(sample < right for sample in draw) for draw in draws])
    assert _estimate_pass_at_k(n, right, k) == pytest.approx(share)


def test_more_samples_than_k_are_needed():
    with pytest.raises(ValueError, match="draw at least k samples"):
        GenerationConfig(name="g", kind="generation", items="x", samples=2, k=3)


@pytest.mark.parametrize(
    ("text", "number"),
    [("#### 1,234", 1234), ("so 3 + 4 = 7.", 7), ("-2.5", -2.5), ("none", None), ("7.0", 7)],
)
def test_last_number(text, number):
    assert _last_number(text) == number


def test_numbers_are_compared_as_numbers(tmp_path):
    task = build(tmp_path, [{"prompt": "1+1=", "target": " so 1,002"}] * 2, match="number")
    assert task._solves(0, "= 1002.0 .")
    assert not task._solves(0, "1003")
    assert not task._solves(0, "no number")


PROGRAMS = [
    {"prompt": "def f(x):\n", "test": "assert f(1) == 2"},
    {"prompt": "def g(x):\n", "test": "assert g(1) == 3"},
]


def test_programs_are_run_with_their_tests(tmp_path):
    task = build(tmp_path, PROGRAMS, match="tests", run_code=True)
    assert task._solves(0, "    return x + 1")
    assert not task._solves(1, "    return x + 1")
    assert not task._solves(0, "    while True: pass") or pytest.fail("a loop has passed")


def test_programs_are_not_run_without_leave(tmp_path):
    with pytest.raises(DataError, match="--run-code .* on a machine without data or credentials"):
        build(tmp_path, PROGRAMS, match="tests")


@pytest.mark.parametrize(
    ("says", "rows", "words"),
    [
        ({}, [{"prompt": "a"}], "no field 'target'"),
        ({"match": "number"}, [{"prompt": "a", "target": "none"}], "has no number"),
        ({"match": "tests", "run_code": True}, [{"prompt": "a"}], "'test' is undefined"),
    ],
)
def test_bad_items_are_named_with_their_line(tmp_path, says, rows, words):
    with pytest.raises(DataError, match=words) as caught:
        build(tmp_path, rows * 2, **says)
    assert "g.jsonl, line 1" in str(caught.value)


def test_a_prompt_that_is_too_long_is_cut_from_the_left_and_counted(tmp_path):
    rows = [{"prompt": "the bird sings " * 40, "target": "x"}, ROWS[0]]
    task = build(tmp_path, rows)
    assert task.truncated == 1
    assert len(task._prompts[0]) == CONTEXT - 4
    whole = tokenizer()(rows[0]["prompt"], add_special_tokens=False)["input_ids"]
    separator = TaskContext(tokenizer(), CONTEXT).separator
    assert task._prompts[0] == [separator, *whole[-(CONTEXT - 5) :]]
    assert task.measure(model()).values.shape == (2,)


def test_layout_changes_with_what_decides_the_results(tmp_path):
    layouts = {
        repr(build(tmp_path, rows, **says).layout)
        for rows, says in (
            (ROWS, {}),
            (ROWS, {"stop": ["x"]}),
            ([ROWS[0] | {"target": "y"}, *ROWS[1:]], {}),
        )
    }
    assert len(layouts) == 3


def test_instruction_and_examples_are_no_part_of_the_program(tmp_path):
    rows = [
        {"body": "def f(x):\n", "test": "assert f(1) == 2"},
        {"body": "def g(x):\n", "test": ""},
    ]
    example = {"body": "def h(x):\n", "target": "    return x"}
    task = build(tmp_path, rows, run_code=True, match="tests", template="{{ body }}",
                 instruction="Complete.", examples=[example])  # fmt: skip
    assert task._solves(0, "    return x + 1")
    assert "Complete" in tokenizer().decode(task._prompts[0])


def test_an_example_has_a_separator_before_its_answer(tmp_path):
    """As the prompt of docs/benchmarks.md, whose answer is a number without a space before it."""
    rows = [{"question": q, "target": a} for q, a in (("one and two", "3"), ("two and two", "4"))]
    says = {"template": "{{ question }}\nAnswer:", "examples": rows[:1], "match": "number"}
    task = build(tmp_path, rows, **says)
    assert tokenizer().decode(task._prompts[1]).endswith("Answer: 3\n\ntwo and two\nAnswer:")
    task = build(tmp_path, rows, separator="", **says)
    assert tokenizer().decode(task._prompts[1]).endswith("Answer:3\n\ntwo and two\nAnswer:")
