import numpy as np
import pytest

from mixopt.data.availability import Availability, SampledPart, estimate_tokens


def parts(sizes, stratum=""):
    return [SampledPart(size, size, stratum) for size in sizes]


def test_a_text_that_was_read_whole_is_counted():
    found = estimate_tokens(parts([10, 30]), {0: 3, 1: 6}, {"": 40})
    assert (found.tokens, found.std_error, found.total_bytes) == (9, 0.0, 40)


def test_the_rate_is_that_of_bytes_and_the_error_that_of_parts():
    """Cochran's ratio estimator, with the same standard error from many draws."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(80, 120, 4000).astype(float)
    counts = np.round(sizes * rng.uniform(0.1, 0.4, 4000)).astype(int)
    away, errors = [], []
    for _ in range(300):
        drawn = rng.choice(4000, 60, replace=False)
        found = estimate_tokens(
            parts(sizes[drawn]), dict(enumerate(counts[drawn].tolist())), {"": sizes.sum()}
        )
        away.append(found.tokens - counts.sum())
        errors.append(found.std_error)
    assert np.std(away) == pytest.approx(np.mean(errors), rel=0.12)
    assert abs(np.mean(away)) < 3 * np.std(away) / np.sqrt(300)


def test_a_beginning_stands_for_its_whole_file():
    begun = [SampledPart(1000, 10), SampledPart(3000, 10)]
    assert estimate_tokens(begun, {0: 5, 1: 1}, {"": 4000}).tokens == 500 + 300


def test_formats_are_counted_apart():
    mixed = [*parts([10, 10], ".jsonl"), *parts([10, 10], ".gz")]
    found = estimate_tokens(mixed, {0: 2, 1: 2, 2: 8, 3: 8}, {".jsonl": 1000, ".gz": 100})
    assert found.tokens == 200 + 80
    assert found.std_error == pytest.approx(0.0)


def test_parts_without_a_document_count_as_empty():
    assert estimate_tokens(parts([10, 10]), {1: 4}, {"": 100}).tokens == 20


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Availability(2_345_678, 23_456.0, 7 << 30),
         "a sample of 7.5 GB: about 2,350,000 tokens in all, ± 2.0%"),
        (Availability(999, None, 0, "it was cut"),
         "a sample: about 999 tokens in all, by one part of it, so the error is not known; it was cut"),
    ],
)  # fmt: skip
def test_it_is_said_in_one_clause(found, words):
    assert found.describe() == words
