import pickle

import pytest
import toy

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.data import corpus, study_corpora
from mixopt.data.study_corpora import StudyCorpora, StudyInputs
from mixopt.errors import ConfigError


def test_a_worker_with_the_drivers_inputs_needs_no_text(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))
    journals = ArtifactStore(tmp_path / "journal"), ArtifactStore(tmp_path / "cache")
    own = StudyCorpora(config, *journals)
    own.build()
    inputs = pickle.loads(pickle.dumps(StudyInputs(own.fingerprints, own.counts)))
    for file in (tmp_path / "s" / "data").iterdir():
        file.unlink()
    other = StudyCorpora(config, *journals, inputs)
    assert other.natural == own.natural
    assert other.available_tokens == own.available_tokens
    assert other.tokenizer.get_vocab() == own.tokenizer.get_vocab()
    assert (other.open("birds").read(3, 9) == own.open("birds").read(3, 9)).all()


def test_a_text_is_read_once_to_know_it(tmp_path, monkeypatch):
    config = load_study(toy.write_study(tmp_path / "s"))
    asked = []
    original = corpus.fingerprint_text
    for module in (corpus, study_corpora):
        monkeypatch.setattr(
            module, "fingerprint_text", lambda text: asked.append(text) or original(text)
        )
    found = StudyCorpora(
        config, ArtifactStore(tmp_path / "journal"), ArtifactStore(tmp_path / "cache")
    )
    found.build()
    assert found.counts
    assert len(asked) == 3


def test_a_natural_mixture_needs_counts(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))
    given = config.experts[0].model_copy(update={"text": None, "checkpoint": "x"})
    config = config.model_copy(update={"experts": [given, *config.experts[1:]]})
    found = StudyCorpora(
        config, ArtifactStore(tmp_path / "journal"), ArtifactStore(tmp_path / "cache")
    )
    found.build()
    with pytest.raises(ConfigError, match="give its available_tokens, or search.natural"):
        _ = found.natural
