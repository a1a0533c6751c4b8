import random

from mixopt.data.contamination import RUN, RunIndex, _count_contamination, describe_contamination

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
    told = {
        o.benchmark: o for o in _count_contamination("web", documents, {"a": first, "b": second})
    }
    assert (told["a"].items, told["a"].short, told["a"].found) == (2, 1, 1)
    assert (told["b"].items, told["b"].found) == (1, 1)
    (sentence,) = describe_contamination(told.values())
    assert "with training text: a (of 3 items web 1); b (of 1 items web 1)." in sentence


def test_items_too_short_to_be_looked_for_are_told_in_one_sentence():
    (sentence,) = describe_contamination(
        _count_contamination("web", [text(1)], {"a": ["no"], "b": ["yes"]})
    )
    assert "Items of 'a', 'b' are too short to be searched for" in sentence


def test_no_items_overlap_with_nothing():
    assert RunIndex({}).find(text(0)) == set()
    assert _count_contamination("web", [], {"a": [text(1)]})[0].found == 0
