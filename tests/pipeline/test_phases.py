import json
import re

import numpy as np
import pytest
import toy
import yaml

import mixopt
from mixopt.callbacks.base import Callback
from mixopt.config.loader import load_study
from mixopt.config.study import StudyConfig
from mixopt.errors import ConfigError, ExportError, InfeasibleError

pytestmark = pytest.mark.slow
PHASES = toy.PHASES
EXPORTS = [
    {"format": "nanotron", "out": "stages.yaml", "paths": "/d/{domain}",
     "options": {"batch_tokens": 1000}},
    {"format": "megatron", "out": "{phase}.txt", "paths": "/d/{domain}"},
]  # fmt: skip


class Names(Callback):
    def __init__(self):
        self.studies, self.sentences = [], []

    def on_study_start(self, recipe, output):
        self.studies.append(recipe.name)

    def on_message(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phases")
    path = toy.write_study(folder, phases=PHASES, exports=EXPORTS)
    names = Names()
    study = mixopt.Study.load(
        path, folder / "out", cache=folder / "cache", device="cpu", callbacks=[names]
    )
    return study, study.run(), names


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
    folder = study.output / "phases" / "stable" / "artifacts" / "bases"
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
        assert left == pytest.approx(study.config.target.max_repetition - times)


def test_exports_take_all_phases_or_one_file_each(finished):
    study, schedule, _ = finished
    exports = study.output / "exports"
    assert {path.name for path in exports.iterdir()} == {"stages.yaml", "stable.txt", "anneal.txt"}
    stages = yaml.safe_load((exports / "stages.yaml").read_text())["data_stages"]
    assert [stage["start_training_step"] for stage in stages] == [1, 16]
    weights = dict(zip(*[iter((exports / "anneal.txt").read_text().split())] * 2, strict=True))
    assert sum(map(float, weights)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("export", "words"),
    [
        ({"format": "nanotronn", "out": "x"}, "Did you mean 'nanotron'"),
        ({"format": "megatron", "out": "x", "paths": "/d/{domain}"}, "put {phase} into the file name"),
        ({"format": "nanotron", "out": "x", "paths": "/d/{domain}"}, "needs the option 'batch_tokens'"),
        ({"format": "json", "out": "x", "options": {"sed": 1}}, "has no option 'sed'"),
    ],
)  # fmt: skip
def test_exports_are_tried_before_anything_is_trained(tmp_path, export, words):
    path = toy.write_study(tmp_path, phases=PHASES, exports=[export])
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    with pytest.raises(ExportError, match=re.escape(words)):
        study.run()
    assert not (tmp_path / "out").exists()


def test_what_a_later_phase_needs_is_left_to_it_or_refused_at_once(tmp_path):
    path = toy.write_study(tmp_path)
    plain = yaml.safe_load(path.read_text())
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    had = study.prepare().corpora.available_tokens["sums"]
    tokens = 2 * had
    phases = [
        {"name": "stable", "tokens": tokens},
        {"name": "anneal", "tokens": tokens, "search": {"rounds": [8], "lower": {"sums": 0.4}}},
    ]
    target = {"tokens": 2 * tokens, "max_repetition": 99}
    export = {"format": "json", "out": "plan.json"}
    plain |= {"phases": phases, "exports": [export], "target": target}
    expert = tmp_path / "experts" / "sums.yaml"
    expert.write_text(expert.read_text() + "max_repetition: 1.0\n")
    for lower, sums in ((0.4, 0.1), (0.6, None)):
        phases[1]["search"]["lower"]["sums"] = lower
        path.write_text(yaml.safe_dump(plain))
        out = tmp_path / f"out-{lower}"
        again = mixopt.Study.load(path, out, cache=tmp_path / "cache", device="cpu")
        if sums is None:  # 0.6 of twice what there is, once
            with pytest.raises(InfeasibleError, match=r"read 'sums' 1\.20 times and at most 1"):
                again.run()
            assert not (out / "phases" / "stable" / "trials.csv").exists()
        else:  # 0.4 of twice what there is leaves a fifth of it: a tenth of the first phase
            schedule = again.run()
            assert schedule.phases[0].proposal.ratios["sums"] <= sums + 1e-6
            assert schedule.phases[1].proposal.ratios["sums"] >= 0.4 - 1e-6
            assert schedule.max_repetition["sums"] == 1.0
            assert (out / "exports" / "plan.json").exists()


def test_the_recipe_of_a_phase_can_be_read_again(finished):
    study, _, _ = finished
    for phase in ("stable", "anneal"):
        text = (study.output / "phases" / phase / "recipe.yaml").read_text()
        recipe = StudyConfig.model_validate(yaml.safe_load(text))
        assert recipe.name == f"toy-{phase}"
    spent = study.config.for_phase(study.config.phases[1], study.config.base, {"birds": 99.0})
    again = StudyConfig.model_validate(spent.model_dump(mode="json"))
    assert again.target_budget({"birds": 10}).caps["birds"] == 0


def test_rounding_forbids_no_phase_its_own_bounds(finished):
    study, _, _ = finished
    recipe, phase = study.config, study.config.phases[1]
    rng = np.random.default_rng(0)
    for _ in range(300):
        lower, had = float(rng.uniform(0.01, 0.6)), int(rng.integers(1_000, 99_999))
        least = {"sums": lower * phase.tokens / had}
        own = recipe.for_phase(phase, recipe.base, {"sums": 9 - least["sums"]}, least)
        assert own.target_budget({"sums": had}).caps["sums"] >= min(1.0, lower)


def test_verbs_of_a_single_search_are_refused(finished):
    study, _, _ = finished
    with pytest.raises(ConfigError, match="searched one by one; use `run`"):
        study.search()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"phases": [{"name": "a", "tokens": 1}]}, "phases read 1 tokens and target.tokens is 20,000"),
        ({"phases": [PHASES[0], {"name": "stable", "tokens": 5000}]}, "'stable'"),
        ({"exports": EXPORTS[1:]}, "asks for phases, and the study has none"),
        ({"phases": [{"name": "a", "tokens": 20_000, "sarch": {}}]}, "Did you mean 'search'"),
        ({"phases": [PHASES[0], PHASES[1] | {"search": {"lower": {"birdz": 0.1}}}]},
         "phase 'anneal': search.lower: unknown domain 'birdz'"),
        ({"phases": [PHASES[0], PHASES[1] | {"search": {"rounds": [3]}}]}, "the first has 3"),
        ({"phases": [PHASES[0], PHASES[1] | {"search": {"capability_weights": {"x": 1}}}]},
         "phase 'anneal': search.capability_weights"),
        ({"phases": [PHASES[0], PHASES[1] | {"search": {"lower": {"birds": 0.9, "sums": 0.3}}}]},
         "phase 'anneal': search:"),
        ({"exports": [{"format": "json", "out": "x", "options": {"out": "../y"}}]},
         "'out' is no option of a format"),
    ],
)  # fmt: skip
def test_phases_that_do_not_fit(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        load_study(toy.write_study(tmp_path, **changes))
