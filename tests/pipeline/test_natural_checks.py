import pytest
import toy

from mixopt import SearchSpace
from mixopt.errors import ConfigError, DataError
from mixopt.pipeline.natural_checks import describe_forbidden_natural
from mixopt.search_limits import Group

NATURAL = {"a": 0.6, "b": 0.3, "c": 0.1}


def test_the_bounds_that_forbid_natural_are_named():
    free = SearchSpace(tuple(NATURAL), prior=NATURAL, upper={"a": 0.6}, max_kl=0.1)
    assert describe_forbidden_natural(free) is None
    bound = SearchSpace(tuple(NATURAL), prior=NATURAL, upper={"a": 0.5}, lower={"b": 0.2},
                        groups={"ends": Group(lower=0.8, domains=("b", "c"))})  # fmt: skip
    told = describe_forbidden_natural(bound)
    assert (
        "natural mixture: a <= 0.5 (natural has 0.6), the group ends >= 0.8 (natural has 0.4)."
        in told
    )
    assert "b >=" not in told


@pytest.mark.parametrize(
    ("search", "bound"),
    [({"upper": {"birds": 0.2}}, "birds <= 0.2"), ({"natural": {"birds": 1.0}}, "birds <= 0.")],
    ids=["bound", "cap"],
)
def test_a_study_warns_before_anything_is_trained(tmp_path, search, bound):
    target = {"tokens": 300_000 if "natural" in search else 20_000, "max_repetition": 9}
    path = toy.write_study(tmp_path, search={"rounds": [6]} | search, target=target)
    study = toy.load(tmp_path, path)
    study.prepare()
    (warning,) = (text for text in study.callbacks.warnings if "natural mixture" in text)
    assert bound in warning
    assert not list((study.output / "artifacts").glob("base/*"))


def test_a_budget_whose_experts_cannot_make_natural_is_refused(tmp_path):
    training = toy.study_plain()["training"] | {
        "compositions": {"one": {"birds": 0.5, "ships": 0.5}, "two": {"birds": 0.5, "sums": 0.5}}
    }
    search = {"rounds": [6], "natural": {"birds": 0.2, "ships": 0.4, "sums": 0.4}}
    path = toy.write_study(tmp_path, training=training, budget={"runs": 6}, search=search)
    study = toy.load(tmp_path, path)
    with pytest.raises(
        ConfigError, match=r"cannot make the natural mixture.*\(birds 0.2, at the nearest"
    ):
        study.prepare()
    assert not list((study.output / "artifacts").glob("base/*"))
    path = toy.write_study(tmp_path, training=training)
    toy.load(tmp_path, path).prepare()


def test_a_validation_needs_the_text_of_natural(tmp_path):
    search = {"rounds": [6], "natural": {"birds": 0.8, "ships": 0.1, "sums": 0.1}}
    training = toy.study_plain()["training"] | {"max_epochs": 0.01}
    validation = {"mixtures": 6, "seeds": 1}
    changes = {"search": search, "training": training}
    toy.load(tmp_path, toy.write_study(tmp_path, **changes)).prepare()
    path = toy.write_study(tmp_path, **changes, validation=validation)
    with pytest.raises(DataError, match=r"a run of the natural mixture would read them"):
        toy.load(tmp_path, path).prepare()
