"""Checks that involve several fields; those of text, names and bounds are in `test_loader.py`."""

import pytest
import toy
import yaml

import mixopt
from mixopt.config.loader import load_study
from mixopt.errors import ConfigError


def write(folder, search, **says):
    benchmark = {"name": "wrote", "kind": "generation", "items": "data/continue.jsonl"} | says
    study = toy.write_study(folder, search={"rounds": [7]} | search)
    toy.write_jsonl(folder / "benchmarks" / "wrote.yaml", [benchmark])  # JSON is YAML
    return study


@pytest.mark.parametrize(
    "search",
    [
        {"method": "gradient"},
        {"slopes": True},
        {"scoring": "streamed"},
        {"method": "ensemble"},
        {"method": "regmix"},
    ],
)
def test_benchmarks_of_whole_models_do_not_go_with_what_is_none(tmp_path, search):
    with pytest.raises(ConfigError, match=r"'wrote' \(generation\) needs a whole merged model"):
        load_study(write(tmp_path, search))


def test_a_holdout_needs_no_ensemble(tmp_path):
    config = load_study(write(tmp_path, {"method": "ensemble"}, role="holdout"))
    assert config.benchmarks[-1].name == "wrote"


def test_a_budget_pays_for_the_candidates_of_regmix(tmp_path):
    search = {"rounds": [7], "method": "regmix"}
    with pytest.raises(ConfigError, match="3 experts, 7 candidates, natural with 2 seeds"):
        load_study(toy.write_study(tmp_path, search=search, budget={"runs": 12}))
    assert load_study(toy.write_study(tmp_path, search=search, budget={"runs": 13})).budget_tokens


def test_experts_are_no_longer_than_runs(tmp_path):
    training = toy.study_plain()["training"] | {"expert_tokens": 5000}
    with pytest.raises(ConfigError, match="expert_tokens: 5,000 is more than the 4,000 tokens"):
        load_study(toy.write_study(tmp_path, training=training))


def test_experts_are_longer_than_the_warm_up_of_runs(tmp_path):
    training = toy.study_plain()["training"] | {"warmup_share": 0.25, "expert_tokens": 1000}
    assert load_study(toy.write_study(tmp_path, training=training))
    training["expert_tokens"] = 999
    told = r"expert_tokens: 999 ends within the warm-up of 1,000 tokens, .* warmup_share: 0.25 of"
    with pytest.raises(ConfigError, match=told):
        load_study(toy.write_study(tmp_path, training=training))
    training |= {"expert_tokens": None, "warmup_share": 0.6}
    with pytest.raises(ConfigError, match="expert_tokens: 2,000 ends within the warm-up of 2,400"):
        load_study(toy.write_study(tmp_path, training=training))


def test_experts_of_the_command_line_may_have_read_more_than_a_run_too(tmp_path):
    base = {"kind": "pretrained", "path": "base", "context": 32}
    training = toy.study_plain()["training"] | {"expert_tokens": 100_000_000}
    path = toy.write_study(tmp_path, base=base, training=training)
    given = {domain: tmp_path / domain for domain in toy.WORDS}
    study = mixopt.Study.load(path, tmp_path / "out", experts=given)
    assert study.config.training.expert_length == 100_000_000
    given.popitem()
    with pytest.raises(ConfigError, match=r"--experts: .*or give every expert its checkpoint"):
        mixopt.Study.load(path, tmp_path / "out", experts=given)


def test_experts_that_are_given_have_the_tokens_that_they_were_trained_for(tmp_path):
    base = {"kind": "pretrained", "path": "base", "context": 32}
    training = toy.study_plain()["training"] | {"expert_tokens": 100_000_000}
    path = toy.write_study(tmp_path, base=base, training=training)
    for domain in ("birds", "ships", "sums"):
        with pytest.raises(ConfigError, match="or give every expert its checkpoint"):
            load_study(path)
        (tmp_path / domain).mkdir()
        file = tmp_path / "experts" / f"{domain}.yaml"
        file.write_text(f"{file.read_text()}checkpoint: ../{domain}\n")
    config = load_study(path)
    assert config.training.expert_length == 100_000_000
    # what others trained on asks for no text here
    assert config.text_tokens == 1 << 22


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (["choise"], "validation.result: unknown benchmark 'choise'. Did you mean 'choice'"),
        (["birds_heldout"], "'birds_heldout' has role search, so it chooses the mixture"),
    ],
)
def test_what_chooses_is_no_result(tmp_path, result, words):
    with pytest.raises(ConfigError, match=words):
        load_study(toy.write_study(tmp_path, validation={"mixtures": 4, "result": result}))


def test_weights_go_with_the_mean(tmp_path):
    search = {"rounds": [7], "aggregate": "worst", "capability_weights": {"birds": 2}}
    with pytest.raises(ConfigError, match="capability_weights count for the mean"):
        load_study(toy.write_study(tmp_path, search=search))


def test_a_weight_of_a_capability_that_only_holdouts_measure(tmp_path):
    path = toy.write_study(tmp_path, search={"rounds": [7], "capability_weights": {"taste": 2}})
    toy.write_jsonl(tmp_path / "benchmarks" / "taste.yaml", [
        {"name": "taste", "kind": "multiple_choice", "items": "../data/choice.jsonl",
         "capability": "taste", "role": "holdout"},
    ])  # fmt: skip
    with pytest.raises(ConfigError, match="all benchmarks of 'taste' have role holdout") as error:
        load_study(path)
    assert "\n" not in str(error.value)
    toy.write_study(
        tmp_path, search={"rounds": [7], "capability_weights": dict.fromkeys(toy.WORDS, 0)}
    )
    with pytest.raises(ConfigError, match="every capability has weight 0"):
        load_study(path)


def test_a_target_shorter_than_the_runs_that_stand_for_it(tmp_path):
    path = toy.write_study(tmp_path, target={"tokens": 3999})
    with pytest.raises(ConfigError, match=r"target.tokens is 3,999 and training.tokens 4,000"):
        load_study(path)
    phases = [{"name": "a", "tokens": 17_000}, {"name": "b", "tokens": 3000}]
    with pytest.raises(ConfigError, match=r"phase 'b': target.tokens is 3,000"):
        load_study(toy.write_study(tmp_path, phases=phases))


def test_phases_have_no_budget_of_their_own(tmp_path):
    phases = [{"name": "a", "tokens": 15_000}, {"name": "b", "tokens": 5_000}]
    path = toy.write_study(tmp_path, phases=phases, budget={"runs": 2})
    with pytest.raises(ConfigError, match="budget: the study has phases"):
        load_study(path)


def test_a_budget_names_the_least_that_works(tmp_path):
    path = toy.write_study(tmp_path, budget={"runs": 5})
    with pytest.raises(ConfigError, match=r"need 24,000; raise it to that or more"):
        load_study(path)
    assert load_study(toy.write_study(tmp_path, budget={"tokens": 24_000})).budget_tokens == 24_000


def test_a_benchmark_is_limited_by_its_items(tmp_path):
    path = toy.write_study(tmp_path)
    file = tmp_path / "benchmarks" / "birds.yaml"
    plain = yaml.safe_load(file.read_text())
    plain["text"]["tokens"] = 500
    file.write_text(yaml.safe_dump(plain))
    with pytest.raises(
        ConfigError, match="text.tokens limits training text; set max_items instead"
    ):
        load_study(path)


def test_experts_with_one_checkpoint_are_refused(tmp_path):
    path = toy.write_study(tmp_path, base={"kind": "pretrained", "path": "base", "context": 32})
    last = tmp_path / "run" / "checkpoint-7"
    last.mkdir(parents=True)
    (last / "config.json").write_text("{}")
    for domain, folder in (("birds", tmp_path / "run"), ("sums", last)):
        expert = {"domain": domain, "checkpoint": str(folder)}
        (tmp_path / "experts" / f"{domain}.yaml").write_text(yaml.safe_dump(expert))
    with pytest.raises(
        ConfigError, match="'birds' and 'sums' have the same checkpoint, .*-7; give"
    ):
        load_study(path)


@pytest.mark.parametrize(
    ("method", "least", "words"),
    [
        # experts, what the method can use, natural's seeds that it does not train, and a candidate
        ("doremi", 3 + 2 + 1 + 1, "2 runs of doremi, natural with one more seed and one"),
        ("odm", 3 + 1 + 2 + 1, "1 run of odm, natural with 2 seeds and one"),
        ("scalebio", 3 + 2 + 2 + 1, "2 runs of scalebio, natural with 2 seeds and one"),
        ("d-optimal", 3 + 16 + 1 + 1, "16 runs of d-optimal, natural with one more seed and one"),
        ("olmix", 3 + 20 + 1 + 1, "20 runs of olmix, natural with one more seed and one"),
        ("points", 3 + 0 + 2 + 1, "3 experts, natural with 2 seeds and one"),
    ],
)
def test_a_budget_pays_for_what_a_method_can_use(tmp_path, method, least, words):
    search = {"rounds": [7], "method": method, "method_runs": 20}
    with pytest.raises(ConfigError, match=words):
        load_study(toy.write_study(tmp_path, search=search, budget={"runs": least - 1}))
    load_study(toy.write_study(tmp_path, search=search, budget={"runs": least}))


def test_without_a_group_both_sides_of_a_split_have_the_same_field(tmp_path):
    """A document's own text is its group there, and of another field it is another text."""
    path = toy.write_study(tmp_path)
    expert = tmp_path / "experts" / "birds.yaml"
    benchmark = tmp_path / "benchmarks" / "birds.yaml"
    files = {file: yaml.safe_load(file.read_text()) for file in (expert, benchmark)}

    def write_fields(group, **fields):
        for file, plain in files.items():
            own = {"field": fields[file.parent.name], "group": group}
            file.write_text(yaml.safe_dump(plain | {"text": plain["text"] | own}))

    write_fields(None, experts=["text", "more"], benchmarks="text")
    with pytest.raises(ConfigError, match="or without a group the same field"):
        load_study(path)
    write_fields(None, experts=["text"], benchmarks="text")
    load_study(path)
    write_fields("page", experts=["text", "more"], benchmarks="text")
    load_study(path)


@pytest.mark.parametrize("compositions", [{}, {"all": {"birds": 0.5, "ships": 0.25, "sums": 0.25}}])
def test_fewer_than_two_compositions_are_refused_before_training(tmp_path, compositions):
    training = toy.study_plain()["training"] | {"compositions": compositions}
    with pytest.raises(
        ConfigError, match=r"training.compositions names [01] experts, and a search"
    ):
        load_study(toy.write_study(tmp_path, training=training))


@pytest.mark.parametrize(
    ("trained", "scored", "apart"),
    [
        ({"source": "web"}, {"source": "heldout"}, True),
        ({"source": ["web", "code"], "year": 1}, {"source": ["test"], "year": 1}, True),
        ({"source": ["web", "code"]}, {"source": "code"}, False),
        ({"source": "web"}, {"year": 2}, False),
        ({"year": 1}, {"year": "1"}, False),
        ({"source": "web"}, None, False),
    ],
)
def test_records_of_one_file_that_conditions_keep_apart(tmp_path, trained, scored, apart):
    """One file of all sources was taken for text that a benchmark and an expert share."""
    study = toy.write_study(tmp_path)
    for folder, where in (("experts", trained), ("benchmarks", scored)):
        file = tmp_path / folder / "birds.yaml"
        plain = yaml.safe_load(file.read_text())
        plain["text"] |= {"part": "all"} | ({} if where is None else {"where": where})
        file.write_text(yaml.safe_dump(plain))
    if apart:
        assert load_study(study).domains[0] == "birds"
        return
    with pytest.raises(ConfigError, match="reads the text that expert 'birds' is trained on"):
        load_study(study)
