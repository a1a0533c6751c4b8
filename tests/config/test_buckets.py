import pytest
import toy

from mixopt.config.buckets import TextSplitConfig
from mixopt.config.loader import load_study
from mixopt.config.study import StudyConfig
from mixopt.config.training import ExpertConfig
from mixopt.errors import ConfigError

TEXT = {"kind": "files", "paths": ["web.jsonl"]}


def write_split(folder, split, **changes):
    """The toy study with a split of `birds`."""
    path = toy.write_study(folder, **changes)
    file = folder / "experts" / "birds.yaml"
    plain = toy.yaml.safe_load(file.read_text())
    file.write_text(toy.yaml.safe_dump(plain | {"split": split}))
    file = folder / "benchmarks" / "birds.yaml"
    plain = toy.yaml.safe_load(file.read_text())
    del plain["own_domain"]
    file.write_text(toy.yaml.safe_dump(plain))
    return path


def test_quantiles_make_domains_that_survive_a_dump(tmp_path):
    config = load_study(write_split(tmp_path, {"by": "length", "quantiles": [0.25, 0.5, 0.75]}))
    assert config.domains == ("birds:q1", "birds:q2", "birds:q3", "birds:q4", "ships", "sums")
    assert StudyConfig.model_validate(config.model_dump(mode="json")) == config
    assert config.text_tokens_of(config.experts[0]) == 4 * config.text_tokens
    assert config.text_tokens_of(config.experts[4]) == config.text_tokens


def test_an_expert_without_a_split_has_no_new_fields_in_its_dump():
    plain = ExpertConfig.model_validate({"domain": "web", "text": TEXT}).model_dump(mode="json")
    assert {"split", "bucket"}.isdisjoint(plain)
    assert "value_field" not in plain["text"]


def test_categories_and_kept_shares_name_domains():
    by_value = {"by": "field", "field": "meta.lang", "values": ["en", "de"]}
    expert = ExpertConfig.model_validate({"domain": "web", "text": TEXT, "split": by_value})
    assert [e.domain for e in expert.split_up()] == ["web:en", "web:de"]
    assert expert.split_up()[0].text.value_field == "meta.lang"
    pruned = {"by": "length", "keep": 0.2}
    expert = ExpertConfig.model_validate({"domain": "web", "text": TEXT, "split": pruned})
    assert [e.domain for e in expert.split_up()] == ["web"]


@pytest.mark.parametrize(("split", "message"), [
    ({"by": "length"}, r"give quantiles, such as \[0.25, 0.5, 0.75\]"),
    ({"by": "field", "field": "a"}, "or the values of a category"),
    ({"by": "length", "quantiles": [0.5, 0.5]}, "must increase"),
    ({"by": "length", "quantiles": [0.5, 0.2]}, "must increase"),
    ({"by": "length", "field": "a", "quantiles": [0.5]}, "give both, or none"),
    ({"by": "field", "quantiles": [0.5]}, "give both, or none"),
    ({"by": "length", "values": ["a"]}, "they go with `by: field` alone"),
    ({"by": "field", "field": "a", "values": ["a", "a"]}, "twice"),
    ({"by": "field", "field": "a", "values": ["a b"]}, "cannot be part of a domain's name"),
    ({"by": "length", "quantiles": [0.5], "keep": (0.5, 0.2)}, "from a quantile to a higher one"),
    ({"by": "length", "quantiles": [0.5], "reference": "x"}, "leave it out"),
])  # fmt: skip
def test_a_wrong_split_is_told(split, message):
    with pytest.raises(ValueError, match=message):
        TextSplitConfig.model_validate(split)


def test_wrong_splits_of_a_study_are_told(tmp_path):
    path = write_split(tmp_path / "a", {"by": "perplexity", "quantiles": [0.5]})
    with pytest.raises(ConfigError, match="give split.reference, a folder or hub id"):
        load_study(path)
    path = write_split(tmp_path / "b", {"by": "length", "quantiles": [0.5]})
    toy.write_jsonl(tmp_path / "b" / "data" / "other.jsonl", [{"text": "x"}])
    expert = {"domain": "birds", "text": {"kind": "files", "paths": ["../data/other.jsonl"]}}
    (tmp_path / "b" / "experts" / "z.yaml").write_text(toy.yaml.safe_dump(expert))
    with pytest.raises(ConfigError, match="'birds' has the name of a text that is split"):
        load_study(path)
    for text, message in (
        (None, "give it a text and no checkpoint"),
        ({"kind": "machine", "name": "arithmetic"}, "text of kind machine has no fields"),
    ):
        plain = {
            "domain": "a",
            "text": text,
            "split": {"by": "field", "field": "x", "values": ["b"]},
        }
        with pytest.raises(ValueError, match=message):
            ExpertConfig.model_validate(plain)


def test_bounds_name_the_group_and_natural_does_not(tmp_path):
    split = {"by": "length", "quantiles": [0.5]}
    search = {"rounds": [8], "upper": {"birds": 0.4}, "lower": {"birds:q1": 0.1}}
    config = load_study(write_split(tmp_path / "a", split, search=search))
    space = config.search.space(config.domains)
    assert space.groups["birds"].upper == 0.4
    search = {"rounds": [8], "natural": {"birds": 0.4, "ships": 0.3, "sums": 0.3}}
    with pytest.raises(ConfigError, match=r"'birds' is a group; .*\(birds:q1, birds:q2\)"):
        load_study(write_split(tmp_path / "b", split, search=search))
