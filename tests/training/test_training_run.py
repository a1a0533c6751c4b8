from dataclasses import replace

import pytest
from pipeline.test_laboratory import laboratory

from mixopt.errors import DataError, RunError
from mixopt.mixture import Mixture
from mixopt.training.training_run import LacksError, Work


@pytest.fixture
def lab(tmp_path):
    return laboratory(tmp_path)


def work_of(lab, **changes):
    def never(*_):
        pytest.fail("trained")

    work = Work("experts", "birds", Mixture({"birds": 1.0}), 0, {}, lab.recipe.training, 1000,
                never, never)  # fmt: skip
    return replace(work, **changes)


def test_what_may_only_be_found_is_not_trained(lab):
    with pytest.raises(LacksError, match="birds"):
        lab.workshop.train(work_of(lab), only_find=True)


def test_what_others_make_is_awaited_and_not_for_ever(lab, monkeypatch):
    monkeypatch.setattr("mixopt.training.training_run.SEEN_AFTER_S", 0.1)
    shop = replace(lab.workshop, makes=False)
    with pytest.raises(RunError, match="No worker has made 'birds' as it was asked for"):
        shop.train(work_of(lab))


def test_a_domain_without_text_trains_nothing(lab):
    with pytest.raises(DataError, match="'birds' is to be trained on 'law', which has no text"):
        lab.workshop.train(work_of(lab, ratios=Mixture({"birds": 0.5, "law": 0.5})))


def test_shares_of_zero_are_not_read(lab):
    assert work_of(lab, ratios=Mixture({"birds": 1.0, "ships": 0.0})).domains == ["birds"]


def test_what_determines_a_training_is_in_its_key(lab):
    told = []

    def look(kind, name, key):
        told.append(repr(key))

    lab.store.find = look
    training = lab.recipe.training
    for changes in ({}, {"seed": 1}, {"ratios": Mixture({"birds": 0.5, "ships": 0.5})},
                    {"key": {"base": "x"}},
                    {"training": training.model_copy(update={"tokens": 2000})}):  # fmt: skip
        with pytest.raises(LacksError):
            lab.workshop.train(work_of(lab, **changes), only_find=True)
    assert len(set(told)) == 5
