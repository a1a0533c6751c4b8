"""What no field can know alone. Held-out sides, names and bounds are tested with whole files in
`tests/test_loading.py`; here is what goes with which kind of benchmark."""

import pytest
import toy

from mixopt.errors import RecipeError
from mixopt.loading import load_study


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
        {"proxy": "ensembled"},
    ],
)
def test_benchmarks_of_whole_models_do_not_go_with_what_is_none(tmp_path, search):
    with pytest.raises(RecipeError, match=r"'wrote' \(generation\) needs a whole merged model"):
        load_study(write(tmp_path, search))


def test_a_holdout_needs_no_ensemble(tmp_path):
    recipe = load_study(write(tmp_path, {"proxy": "ensembled"}, role="holdout"))
    assert recipe.benchmarks[-1].name == "wrote"
