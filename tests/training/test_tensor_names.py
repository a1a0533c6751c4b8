import pytest
from models_for_tests import family
from transformers import AutoModel

from mixopt.errors import ModelError
from mixopt.training.base_model import mergeable
from mixopt.training.tensor_names import align_names, strip_wrappers


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox", "mixtral"])
def test_a_body_and_its_model_have_the_same_names_after_alignment(name, tmp_path):
    network = family(name)
    network.save_pretrained(tmp_path)
    body = set(mergeable(AutoModel.from_pretrained(tmp_path)))
    whole = set(mergeable(network))
    heads = whole - {align_names(body, whole)[name] for name in body}
    assert heads <= {"lm_head.weight", "embed_out.weight"}
    assert set(align_names(whole, body).values()) >= body


def test_names_that_fit_and_names_of_another_model_stay():
    wanted = ["model.a.weight", "lm_head.weight"]
    assert align_names(wanted, wanted) == {name: name for name in wanted}
    assert align_names(["b.weight"], wanted) == {"b.weight": "b.weight"}
    pictures = ["model.language_model.a.weight", "model.visual.b.weight", "lm_head.weight"]
    assert align_names(pictures, wanted)["model.language_model.a.weight"] == "model.a.weight"


def test_a_prefix_of_all_names_is_stripped_where_the_rest_fits():
    wanted = ["model.a.weight", "lm_head.weight"]
    for prefix in ("student.", "net.inner."):
        held = [prefix + name for name in wanted]
        assert align_names(held, wanted) == dict(zip(held, wanted, strict=True))
    both = ["student.model.a.weight", "teacher.model.a.weight", "student.lm_head.weight"]
    assert align_names(both, wanted) == {name: name for name in both}
    assert align_names(["student.b.weight"], wanted) == {"student.b.weight": "student.b.weight"}
    assert align_names([], wanted) == {}


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module.",
        "module._orig_mod.",
        "_forward_module.",
        "_forward_module._orig_mod.",
        "base_model.model.",
    ],
)
def test_prefixes_of_wrappers(prefix, tmp_path):
    assert strip_wrappers([f"{prefix}a.b", f"{prefix}c"], tmp_path) == {
        "a.b": f"{prefix}a.b", "c": f"{prefix}c"
    }  # fmt: skip
    with pytest.raises(ModelError, match="holds tensor 'a' twice"):
        strip_wrappers(["a", "_orig_mod.a"], tmp_path)
