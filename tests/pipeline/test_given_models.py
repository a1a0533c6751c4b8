import pytest
import toy
from gguf_files import write_gguf
from models_for_tests import build, save_base, tokenizer

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.errors import ModelError
from mixopt.pipeline.given_models import find_given_models
from mixopt.study import Study

FIELDS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
          "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip


def study_on(folder, base, **changes):
    base = {"kind": "pretrained", "path": str(base), "context": 32}
    return toy.write_study(folder, base=base, **changes)


def gguf(path, seed=0):
    return write_gguf(path, build("llama", seed, len(tokenizer()), **FIELDS), tokenizer())


def test_folders_of_weights_stay_as_they_are(tmp_path):
    config = load_study(study_on(tmp_path, save_base(tmp_path / "base")))
    assert find_given_models(config, ArtifactStore(tmp_path / "cache")) is config
    built = load_study(toy.write_study(tmp_path / "built"))
    assert find_given_models(built, ArtifactStore(tmp_path / "cache")) is built


def test_the_last_checkpoint_is_the_base(tmp_path):
    last = save_base(tmp_path / "run" / "checkpoint-20")
    save_base(tmp_path / "run" / "checkpoint-3")
    config = load_study(study_on(tmp_path, tmp_path / "run"))
    assert find_given_models(config, ArtifactStore(tmp_path / "cache")).base.path == str(last)


def test_a_study_is_trained_from_a_gguf_file(tmp_path):
    path = study_on(tmp_path, gguf(tmp_path / "base.Q8_0.gguf"))
    found = find_given_models(load_study(path), ArtifactStore(tmp_path / "cache"))
    study = Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    trained = study.train()
    assert found.base.path.startswith(str(tmp_path / "cache" / "dequantized"))
    assert all(list(result.folder.glob("*.safetensors")) for result in trained.values())


def test_experts_in_gguf_files_are_found_and_bad_ones_named(tmp_path):
    base = save_base(tmp_path / "base")
    config = load_study(study_on(tmp_path, base))
    experts = [
        expert.model_copy(
            update={"checkpoint": str(gguf(tmp_path / f"{expert.domain}.gguf", seed))}
        )
        for seed, expert in enumerate(config.experts)
    ]
    given = config.model_copy(update={"experts": experts})
    found = find_given_models(given, ArtifactStore(tmp_path / "cache"))
    assert found.base == config.base
    assert all(str(tmp_path / "cache") in expert.checkpoint for expert in found.experts)
    (tmp_path / "birds.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="Expert 'birds' at .* is a GGUF file that transformers"):
        find_given_models(given, ArtifactStore(tmp_path / "cache"))


def test_a_look_at_a_study_reads_no_gguf_file(tmp_path):
    path = study_on(tmp_path, gguf(tmp_path / "base.Q8_0.gguf"))
    study = Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    rows = study.status()
    assert {(row.state, row.why) for row in rows} == {
        ("left", "needs the weights of a GGUF file first")
    }
    assert {"text birds", "expert sums", "round 1", "report.html"} <= {row.what for row in rows}
    assert not (tmp_path / "cache").exists()
