import json

import pytest
import toy

import mixopt
from mixopt.pipeline import propose
from mixopt.pipeline.propose import Recommender


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recommending")
    path = toy.write_study(folder, search={"rounds": [8]})
    study = mixopt.Study.load(path, folder / "out", cache=folder / "cache", device="cpu")
    return study, study.search()


def test_proposals_are_made_once_and_found_again(searched, monkeypatch):
    study, trials = searched
    made = Recommender(study.foundation, study.learner).recommend(trials)
    monkeypatch.setattr(propose, "propose", lambda *_, **__: pytest.fail("made again"))
    found = Recommender(study.foundation, study.learner).recommend(trials)
    assert [p.to_json() for p in found] == [p.to_json() for p in made]


def test_what_determines_proposals_is_in_their_key(searched, tmp_path):
    study, trials = searched
    plain = study.recipe.model_dump(mode="json")

    def key(trials=trials, **sections):
        changed = {name: plain[name] | told for name, told in sections.items()}
        recipe = type(study.recipe).model_validate(plain | changed)
        other = mixopt.Study(recipe, study.output, cache=study.cache, device="cpu")
        return json.dumps(Recommender(other.foundation, other.learner).unit(trials)[2], default=str)

    told = [
        key(),
        key(trials=trials[:-2]),
        key(search={"upper": {"birds": 0.4}}),
        key(search={"proposals": 3}),
        key(target={"max_repetition": 3}),
    ]
    assert len(set(told)) == len(told)
    assert key() == told[0]
