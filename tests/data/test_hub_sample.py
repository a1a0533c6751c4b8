"""Of a large dataset of the `datasets` library a sample is read; a small one is read as before."""

import pytest
import toy

from mixopt.config.text import HubTextConfig
from mixopt.data.hub_sample import find_hub_sample

datasets = pytest.importorskip("datasets", reason="the hub extra is not installed")
ROWS = [{"text": f"document {i} " + "word " * (i % 40), "page": str(i // 3)} for i in range(4000)]
WORDS = sum(len(row["text"].split()) for row in ROWS)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    datasets.Dataset.from_list(ROWS).save_to_disk(folder / "saved")
    for number in range(8):
        toy.write_jsonl(folder / "streamed" / f"train-{number}.jsonl", ROWS[number::8])
    return folder


def sample_of(places, name, tokens=2000, seed=0, **more):
    source = HubTextConfig(kind="huggingface", path=str(places / name), **more)
    return find_hub_sample(source, tokens, seed)


def tokenize(sample):
    tokens, count = {}, 0
    for document in sample.read():
        if sum(tokens.values()) >= sample.tokens:
            break
        tokens[document.part] = tokens.get(document.part, 0) + len(document.text.split())
        count += 1
    return count, tokens


@pytest.mark.parametrize("name", ["saved", "streamed"])
def test_a_small_dataset_is_read_whole(places, name):
    assert sample_of(places, name, tokens=10**6) is None


@pytest.mark.parametrize("name", ["saved", "streamed"])
def test_the_order_is_spread_and_has_each_row_once(places, name):
    sample = sample_of(places, name)
    first = [int(document.text.split()[1]) for document in sample.read()]
    assert len({number % 8 for number in first}) == 8
    assert len(first) == len(set(first)) < 1000
    everything = [document.text for document in sample._read_parts()]
    assert sorted(everything) == sorted(row["text"] for row in ROWS)
    again, other = sample_of(places, name), sample_of(places, name, seed=7)
    assert (
        again.compute_fingerprint() == sample.compute_fingerprint() != other.compute_fingerprint()
    )


def test_the_size_of_a_saved_dataset_is_estimated(places):
    sample = sample_of(places, "saved")
    found = sample.estimate(*tokenize(sample))
    assert abs(found.tokens - WORDS) < 4 * found.std_error
    assert found.tokens == pytest.approx(WORDS, rel=0.3)
    train = sample_of(places, "saved", part="train", group="page", heldout_share=0.3)
    assert train.estimate(*tokenize(train)).tokens == pytest.approx(0.7 * WORDS, rel=0.3)


def test_a_stream_that_does_not_tell_its_rows_says_what_to_give(places):
    sample = sample_of(places, "streamed")
    count, tokens = tokenize(sample)
    found = sample.estimate(count, tokens)
    assert (found.tokens, found.std_error) == (sum(tokens.values()), None)
    assert "only what was read counts: give available_tokens" in found.describe()


@pytest.mark.parametrize("name", ["saved", "streamed"])
def test_files_that_were_written_again_are_another_dataset(tmp_path, name):
    def save(word):
        rows = [{"text": row["text"].replace("word", word), "page": row["page"]} for row in ROWS]
        if name == "saved":
            datasets.Dataset.from_list(rows).save_to_disk(tmp_path / name)
        else:
            toy.write_jsonl(tmp_path / name / "train.jsonl", rows)
        return sample_of(tmp_path, name).describe_files()

    first = save("word")
    assert sample_of(tmp_path, name).describe_files() == first
    assert save("term") != first
