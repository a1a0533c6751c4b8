import pytest
import toy

import mixopt
from mixopt.config.loader import load_study
from mixopt.errors import ConfigError
from mixopt.pipeline.sections import require_budget, require_validation


def test_sections_are_asked_for_before_anything_is_trained(tmp_path, monkeypatch):
    path = toy.write_study(tmp_path)
    study = mixopt.Study.load(path, tmp_path / "out")
    monkeypatch.setattr(mixopt.Study, "search", lambda *_: pytest.fail("trains"))
    with pytest.raises(ConfigError, match="no `validation` section; add one"):
        study.validate()
    with pytest.raises(ConfigError, match="no `budget` section; add one"):
        study.spend()


def test_sections_that_are_there(tmp_path):
    path = toy.write_study(tmp_path, validation={"mixtures": 5}, budget={"runs": 50})
    config = load_study(path)
    assert require_validation(config).mixtures == 5
    assert require_budget(config).runs == 50


def test_a_study_with_phases_is_not_told_to_add_a_budget(tmp_path):
    config = load_study(toy.write_study(tmp_path, phases=toy.PHASES))
    with pytest.raises(
        ConfigError, match="The study has phases, which are searched one by one and"
    ):
        require_budget(config)
