"""Real Hugging Face architectures through the whole road, from a local folder, full and LoRA."""

import pytest
import toy
from models_for_tests import save_base

import mixopt

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
def test_the_whole_road(architecture, method, tmp_path):
    folder = save_base(tmp_path / "base", architecture)
    training = toy.study_plain()["training"] | {"method": method, "tokens": 3000}
    training |= {"lora": {"rank": 4, "alpha": 8}} if method == "lora" else {}
    path = toy.write_study(
        tmp_path,
        base={"kind": "pretrained", "path": "base", "context": 32},
        training=training,
        search={"rounds": [7]},
        validation={"mixtures": 4, "seeds": 1},
    )
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    proposal = study.run()
    assert sum(proposal.ratios.values()) == pytest.approx(1)
    names = {file.name for expert in (tmp_path / "out" / "artifacts" / "experts").iterdir()
             for file in expert.iterdir()}  # fmt: skip
    expected = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    assert expected in names
    scores = {name: e.mean for name, e in proposal.measured.items()}
    base = study.open_search().evaluator.score_base()
    learnt = [base[f"{d}_heldout"].score - scores[f"{d}_heldout"] for d in toy.WORDS]
    assert sum(learnt) > 0  # the merge of experts is better at the domains than the base
    assert folder.is_dir()
