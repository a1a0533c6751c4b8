import random

import pytest

from mixopt.data.capability_text import FEWEST_BYTES, collect_capability_text
from mixopt.errors import DataError

TOPICS = {
    "birds": ["owl", "nest", "feather", "wing", "sparrow", "falcon", "beak", "egg"],
    "ships": ["sailor", "harbour", "anchor", "rope", "mast", "cargo", "deck", "keel"],
    "common": [
        "today",
        "people",
        "many",
        "places",
        "found",
        "often",
        "small",
        "large",
        "another",
        "between",
    ],
}


def text(topic, seed, words=60):
    rng = random.Random(f"{topic} {seed}")
    return " ".join(rng.choice(TOPICS[topic] + TOPICS["common"]) for _ in range(words))


ITEMS = [text("birds", seed, 30) for seed in range(20)]
CORPUS = [text("birds", 100 + s) for s in range(30)] + [text("ships", 200 + s) for s in range(70)]


def about_birds(passage):
    words = passage.text.split()
    return sum(word in TOPICS["birds"] for word in words) > 10


def test_texts_about_the_items_are_found_and_no_others():
    found = collect_capability_text(ITEMS, lambda: CORPUS, texts=20, concepts=8)
    assert len(found.passages) == 20
    assert all(about_birds(passage) for passage in found.passages)
    assert len({passage.text for passage in found.passages}) == 20
    assert {word for name in found.concepts for word in name.split()} <= set(TOPICS["birds"]) | set(
        TOPICS["common"]
    )
    assert found.concepts[0].split()[0] in TOPICS["birds"]
    assert found.read == 100


def test_concepts_take_turns():
    found = collect_capability_text(ITEMS, lambda: CORPUS, texts=8, concepts=8)
    assert len({passage.concept for passage in found.passages}) == 8


def test_texts_that_contain_an_item_are_refused():
    leaked = [
        f"{text('birds', 300 + i)} {item} {text('birds', 400 + i)}" for i, item in enumerate(ITEMS)
    ]
    found = collect_capability_text(ITEMS, lambda: CORPUS + leaked, texts=40, concepts=8)
    assert found.refused == 20
    assert not {passage.text for passage in found.passages} & set(leaked)
    with_one = collect_capability_text(
        ITEMS, lambda: CORPUS, texts=5, concepts=4, write=lambda _: ITEMS[0]
    )
    assert with_one.refused == 4
    assert all(passage.source == "corpus" for passage in with_one.passages)


def test_a_model_writes_more():
    written = collect_capability_text(
        ITEMS, lambda: CORPUS, texts=5, concepts=4, write=lambda name: f"{name} is new. " * 20
    )
    own = [passage for passage in written.passages if passage.source == "model"]
    assert [passage.concept for passage in own] == list(written.concepts)


def test_long_documents_are_cut_between_paragraphs():
    long = "\n\n".join(text("birds", 500 + s) for s in range(20))
    found = collect_capability_text(ITEMS, lambda: [long, *CORPUS[30:]], texts=10, concepts=4)
    for passage in found.passages:
        assert FEWEST_BYTES <= len(passage.text.encode()) <= 2100
        assert all(part in long for part in passage.text.split("\n"))


def test_the_same_text_twice_is_taken_once():
    found = collect_capability_text(ITEMS, lambda: CORPUS * 2, texts=60, concepts=8)
    assert len({p.text for p in found.passages}) == len(found.passages) == 30


@pytest.mark.parametrize(
    ("items", "corpus", "words"),
    [
        (["1 + 1", "2 + 2"], CORPUS, "no words to look for"),
        (ITEMS, ["short"], "no piece of 200 bytes"),
        (["zebra zebra stripes"] * 5, CORPUS, "Nothing in the corpus is about"),
    ],
)
def test_what_cannot_be_found_is_said(items, corpus, words):
    with pytest.raises(DataError, match=words):
        collect_capability_text(items, lambda: corpus, texts=5, concepts=4)


def test_short_items_are_refused_too():
    short = "sparrow falcon feather nest owl"
    items = [*ITEMS, f"{short}?"]
    leaked = [f"{text('birds', 900)} {short.title()}. {text('birds', 901)}"]
    assert (
        collect_capability_text(items, lambda: CORPUS + leaked, texts=40, concepts=8).refused == 1
    )
