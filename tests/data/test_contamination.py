import random
import unicodedata
from types import SimpleNamespace

import pytest

from mixopt.artifacts.store import ArtifactStore
from mixopt.data import contamination
from mixopt.data.contamination import (
    RUN,
    Items,
    RunIndex,
    describe_contamination,
    measure_contamination,
)

WORDS = [f"w{i}" for i in range(500)]


def text(seed, words=40):
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words))


def brute(items, document):
    """The places of the items that share a run, by comparing every run with every other."""
    runs = {tuple(document.lower().split()[i : i + RUN]) for i in range(len(document.split()))}
    return {
        place
        for place, item in enumerate(items)
        if any(
            tuple(item.lower().split()[i : i + RUN]) in runs
            for i in range(len(item.split()) - RUN + 1)
        )
    }


def test_the_same_items_are_found_as_by_brute_force():
    items = [text(seed) for seed in range(30)]
    index = RunIndex({"b": items})
    rng = random.Random(1)
    for _ in range(50):
        item = items[rng.randrange(30)].split()
        start, length = rng.randrange(20), rng.choice([RUN - 1, RUN, RUN + 3])
        document = (
            f"{text(rng.random())} {' '.join(item[start : start + length])} {text(rng.random())}"
        )
        assert index.find(document) == brute(items, document)


def test_case_and_punctuation_do_not_hide_a_run():
    item = "one two three four five six seven eight nine ten eleven twelve thirteen"
    index = RunIndex({"b": [item]})
    assert index.find(
        "Well: ONE, two; three four-five six seven eight nine ten eleven twelve Thirteen!"
    )
    assert not index.find(item.replace("seven", "sieben"))


def test_overlaps_are_counted_by_benchmark():
    first, second = [text(1), text(2), "too short"], [text(3)]
    documents = [text(9), text(2) + " and more", "x " + text(3)]
    told = {o.benchmark: o for o in Items({"a": first, "b": second}).count("web", documents)}
    assert (told["a"].items, told["a"].short, told["a"].found) == (2, 1, 1)
    assert (told["b"].items, told["b"].found) == (1, 1)
    (sentence,) = describe_contamination(told.values())
    assert "with training text: a (of 3 items web 1); b (of 1 items web 1)." in sentence


def test_items_too_short_to_be_looked_for_are_told_in_one_sentence():
    (sentence,) = describe_contamination(Items({"a": ["no"], "b": ["yes"]}).count("web", [text(1)]))
    assert "Items of 'a', 'b' are too short to be searched for" in sentence


def test_no_items_overlap_with_nothing():
    assert RunIndex({}).find(text(0)) == set()
    assert Items({"a": [text(1)]}).count("web", [])[0].found == 0


def test_items_are_indexed_once_for_all_domains(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(
        contamination, "RunIndex", lambda texts: built.append(texts) or RunIndex(texts)
    )
    texts = {"a": [text(1), text(2)]}
    documents = {domain: lambda n=n: [text(n)] for n, domain in enumerate("xyz")}
    corpora = {domain: SimpleNamespace(folder=tmp_path / f"corpus-{domain}") for domain in "xyz"}
    store = ArtifactStore(tmp_path / "store")
    found = measure_contamination(documents, corpora, texts, store)
    assert [count.found for count in found] == [0, 1, 1]
    assert built == [texts]
    assert measure_contamination(documents, corpora, texts, store) == found
    assert built == [texts]  # all are in the store


def test_a_benchmark_of_which_half_are_too_short_is_told_with_its_count():
    texts = {"a": ["short"] * 400 + [text(1)], "b": [text(2), text(3), "no"]}
    (sentence,) = describe_contamination(Items(texts).count("web", [text(9)]))
    assert "Items of 'a' (400 of 401) are too short to be searched for" in sentence


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_of_either_form_are_the_same_letters(forms):
    words = "un été où même l'élève français a très vite été là après ça et voilà où"
    item, document = (unicodedata.normalize(form, words) for form in forms)
    assert item != document
    assert RunIndex({"b": [item]}).find(document) == {0}
    short = unicodedata.normalize("NFD", "été très élève déjà où là")
    assert Items({"b": [short]}).count("web", [])[0].short == 1


def test_each_character_of_a_language_without_spaces_is_a_word():
    item = "床前明月光,疑是地上霜。"
    other = "举头望明月,低头思故乡。举头望明月"
    index = RunIndex({"b": [item * 2, other, "短い文です"]})
    assert index.find("李白: " + item + item) == {0}
    assert index.find("静夜思：" + other.replace(",", "，") + "…") == {1}
    assert index.find("床前明月光") == set()
    assert index.find(" ".join(other)) == {1}
    assert Items({"b": [item, other, "短い文です"]}).count("web", [])[0].short == 2
