import pytest

from mixopt.io.model_sizes import parse_size, show_size, whole_number


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("70M", 70e6),
        ("1.2e8", 1.2e8),
        ("60000000", 6e7),
        ("60000000.0", 6e7),
        ("61,483,264", 61483264),
        ("60_000_000", 6e7),
        ("Tiny-60M", 6e7),
        ("pythia-1.4b-deduped", 1.4e9),
        ("llama_125m", 1.25e8),
        (" 350 M params ", 3.5e8),
        ("1 billion parameters", 1e9),
        ("EleutherAI/pythia-70m", 7e7),
        ("60M-mix-60m", 6e7),
        ("Llama-3-8B", 8e9),
    ],
)
def test_what_plainly_is_a_size(text, size):
    assert parse_size(text) == pytest.approx(size)


@pytest.mark.parametrize(
    "text",
    [
        "large",
        "gpt2",
        "7",
        "0.06",
        "8x7B",
        "step100k",
        "60M-1B",
        "v2-final",
        "",
        "1e999",
        "web",
        "3mix",
    ],
)
def test_what_is_no_plain_size(text):
    assert parse_size(text) is None


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (6e7, "60M"),
        (1.24e9, "1.24B"),
        (999999999, "1B"),
        (61483264, "61.5M"),
        (7e11, "700B"),
    ],
)
def test_sizes_are_shown_with_a_unit(size, shown):
    assert show_size(size) == shown
    assert parse_size(shown) == pytest.approx(size, rel=0.005)


@pytest.mark.parametrize(
    ("given", "number"),
    [("1e9", 10**9), ("1_000", 1000), ("1.5", "1.5"), ("all", "all"), (3, 3), ("1e999", "1e999")],
)
def test_whole_numbers_in_text(given, number):
    assert whole_number(given) == number
    assert type(whole_number(given)) is type(number)


def test_units_are_refused_with_the_digits():
    with pytest.raises(ValueError, match="write 1_500_000_000 or 1.5e9"):
        whole_number("1.5B")
