import pytest
import torch
from models_for_tests import family, perturbed, tokenizer
from safetensors.torch import load_file, save_file

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError
from mixopt.evaluation.assemble import assemble, hash_expert
from mixopt.training.base_model import Base
from mixopt.training.device import Device

CPU = Device("cpu", torch.float32)


@pytest.fixture
def folders(tmp_path):
    """A Mixtral base and expert, whose tensors on disk are called otherwise than in memory."""
    network = family("mixtral")
    network.save_pretrained(tmp_path / "base")
    state = perturbed(network, 1)
    network.load_state_dict(state, strict=False)
    network.save_pretrained(tmp_path / "expert")
    return tmp_path / "base", tmp_path / "expert"


def put_together(folders, tmp_path, *, given=None, scoring="resident"):
    base = Base(str(folders[0]), 32, CPU, tokenizer())
    store = ArtifactStore(tmp_path / "journal")
    return assemble(base, {folders[1]: given}, store, scoring=scoring, memory_bytes=None)


def test_checkpoints_in_other_names_are_merged_in_those_of_memory(folders, tmp_path):
    resident = put_together(folders, tmp_path)
    streamed = put_together(folders, tmp_path, scoring="streamed")
    assert resident.step_sizes() == pytest.approx(streamed.step_sizes(), rel=1e-5)
    names = dict(family("mixtral").named_parameters())
    renamed = sorted((tmp_path / "journal" / "renamed").iterdir())
    assert len(renamed) == 2  # the base for the streamed engine, the expert for both
    for folder in renamed:
        assert set(load_file(folder / "model.safetensors")) <= set(names)
    (expert,) = (folder for folder in renamed if folder.name.startswith("expert"))
    own = perturbed(family("mixtral"), 1)
    for name, tensor in load_file(expert / "model.safetensors").items():
        assert torch.equal(tensor, own[name])


def test_only_experts_from_elsewhere_are_warned_of(folders, tmp_path, caplog):
    family("mixtral", seed=9).save_pretrained(folders[1])
    put_together(folders, tmp_path)
    assert not caplog.records
    put_together(folders, tmp_path, given=False)
    assert "from another base" in caplog.text


def test_pickles_are_opened_only_where_that_was_allowed(folders, tmp_path):
    state = {name: t.clone() for name, t in family("mixtral").named_parameters()}
    for file in folders[1].glob("*.safetensors*"):
        file.unlink()
    torch.save({name: t.detach() for name, t in state.items()}, folders[1] / "pytorch_model.bin")
    with pytest.raises(ModelError, match="may run code"):
        put_together(folders, tmp_path, given=False)
    assert put_together(folders, tmp_path, given=True).k == 1


def test_digest_goes_with_the_weights(folders):
    before = hash_expert(folders[1])
    file = folders[1] / "model.safetensors"
    state = load_file(file)
    state["lm_head.weight"][0, 0] += 1
    save_file(state, file, metadata={"format": "pt"})
    assert hash_expert(folders[1]) != before
