import json

import pytest
import toy
import yaml

import mixopt
from mixopt.errors import RecipeError
from mixopt.loading import load_study
from mixopt.phasing import run_phases
from mixopt.runtime.observer import Observer

PHASES = [
    {"name": "stable", "tokens": 15_000},
    {"name": "anneal", "tokens": 5_000, "base_tokens": 2_000,
     "search": {"rounds": [8], "lower": {"sums": 0.5}}},
]  # fmt: skip
EXPORTS = [
    {"format": "nanotron", "out": "stages.yaml", "paths": "/d/{domain}",
     "options": {"batch_tokens": 1000}},
    {"format": "megatron", "out": "{phase}.txt", "paths": "/d/{domain}"},
]  # fmt: skip


class Names(Observer):
    def __init__(self):
        self.studies, self.sentences = [], []

    def study_started(self, recipe, output):
        self.studies.append(recipe.name)

    def said(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phases")
    path = toy.write_study(folder, phases=PHASES, exports=EXPORTS)
    names = Names()
    study = mixopt.Study.load(
        path, folder / "out", cache=folder / "cache", device="cpu", observers=[names]
    )
    return study, run_phases(study), names


def test_each_phase_is_searched_by_its_own_rules(finished):
    study, schedule, names = finished
    assert names.studies == ["toy", "toy-stable", "toy-anneal"]
    assert [phase.name for phase in schedule.phases] == ["stable", "anneal"]
    assert [phase.tokens for phase in schedule.phases] == [15_000, 5_000]
    assert schedule.phases[1].proposal.ratios["sums"] >= 0.5 - 1e-9
    assert {path.name for path in (study.output / "phases").iterdir()} == {"stable", "anneal"}
    assert (
        mixopt.Schedule.from_dict(json.loads((study.output / "schedule.json").read_text())).tokens
        == 20_000
    )
    assert any("whole run" in sentence for sentence in names.sentences)


def test_a_later_phase_starts_from_the_base_trained_on_what_came_before(finished):
    study, schedule, _ = finished
    recipe = yaml.safe_load((study.output / "phases" / "anneal" / "recipe.yaml").read_text())
    assert recipe["base"]["kind"] == "pretrained"
    folder = study.output / "phases" / "stable" / "journal" / "bases"
    (unit,) = folder.iterdir()
    assert recipe["base"]["path"] == str(unit)
    tokens = json.loads((unit / "outcome.json").read_text())["tokens"]
    assert abs(tokens - 2_000) < 256  # whole batches
    assert schedule.phases[0].proposal.measured["sums_heldout"].mean != pytest.approx(
        schedule.phases[1].proposal.measured["sums_heldout"].mean
    )


def test_what_earlier_phases_read_counts_against_the_cap(finished):
    study, schedule, _ = finished
    first, second = schedule.phases
    for domain, times in first.proposal.repetition.items():
        left = second.proposal.budget.max_repetition[domain]
        assert left == pytest.approx(study.recipe.target.max_repetition - times)


def test_exports_take_all_phases_or_one_file_each(finished):
    study, schedule, _ = finished
    exports = study.output / "exports"
    assert {path.name for path in exports.iterdir()} == {"stages.yaml", "stable.txt", "anneal.txt"}
    stages = yaml.safe_load((exports / "stages.yaml").read_text())["data_stages"]
    assert [stage["start_training_step"] for stage in stages] == [1, 16]
    weights = dict(zip(*[iter((exports / "anneal.txt").read_text().split())] * 2, strict=True))
    assert sum(map(float, weights)) == pytest.approx(1)


def test_other_verbs_and_studies_are_sent_where_they_belong(finished, tmp_path):
    study, _, _ = finished
    with pytest.raises(RecipeError, match="searched one by one; use `mixopt run`"):
        study.search()
    plain = mixopt.Study.load(toy.write_study(tmp_path), tmp_path / "out")
    with pytest.raises(RecipeError, match="has no phases"):
        run_phases(plain)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"phases": [{"name": "a", "tokens": 1}]}, "phases read 1 tokens and target.tokens is 20,000"),
        ({"phases": [PHASES[0], {"name": "stable", "tokens": 5000}]}, "'stable'"),
        ({"exports": EXPORTS[1:]}, "asks for phases, and the study has none"),
        ({"phases": [{"name": "a", "tokens": 20_000, "sarch": {}}]}, "Did you mean 'search'"),
    ],
)  # fmt: skip
def test_phases_that_do_not_fit(tmp_path, changes, words):
    with pytest.raises(RecipeError, match=words):
        load_study(toy.write_study(tmp_path, **changes))
