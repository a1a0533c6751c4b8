import pytest

from mixopt.io.run_folders import find_model_folder


@pytest.fixture
def run(tmp_path):
    for name in ("checkpoint-100", "checkpoint-900", "checkpoint-1000", "checkpoint-x", "logs"):
        (tmp_path / name).mkdir()
    for name in ("checkpoint-100", "checkpoint-900", "checkpoint-1000"):
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "checkpoint-1500").mkdir()  # the run ended while it was written
    (tmp_path / "trainer_state.json").write_text("{}")
    (tmp_path / "training_args.txt").write_text("")
    (tmp_path / "checkpoint-2000").write_text("no folder")
    return tmp_path


def test_the_last_checkpoint_by_number(run):
    assert find_model_folder(run) == run / "checkpoint-1000"
    assert find_model_folder(run / "checkpoint-100") == run / "checkpoint-100"


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json", "model.safetensors"])
def test_a_model_beside_its_checkpoints(run, name):
    (run / name).write_text("{}")
    assert find_model_folder(run) == run


def test_other_places_stay(tmp_path):
    assert find_model_folder(tmp_path) == tmp_path
    assert find_model_folder(tmp_path / "nowhere") == tmp_path / "nowhere"


@pytest.mark.parametrize(
    "names", [("epoch_2", "epoch_10"), ("step-5", "step-70"), ("global_step9", "global_step10")]
)
def test_names_of_other_trainers(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("")
    assert find_model_folder(tmp_path) == tmp_path / names[1]
