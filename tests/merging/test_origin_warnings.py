import json

import pytest
from models_for_tests import model

from mixopt.merging.origin_warnings import differing_settings, warn_of_origin
from mixopt.merging.to_disk import merge_to_disk


def change_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def make_lora(folder):
    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(model(), LoraConfig(r=2, target_modules=["up_proj"]))
    wrapped.save_pretrained(str(folder))


@pytest.fixture
def base(tmp_path):
    model().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


LLAMA = {"model_type": "llama", "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}}
QWEN = {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True}
GEMMA = {"rope_theta": 1e6, "rope_local_base_freq": 1e4,
         "rope_scaling": {"rope_type": "linear", "factor": 8.0}}  # fmt: skip


def by_layer(theta=1e6, factor=8.0, local=1e4):
    """The same, as version 5 of transformers writes it."""
    return {"rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": factor, "rope_theta": theta},
        "sliding_attention": {"rope_type": "default", "rope_theta": local},
    }}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "found"), [
    (GEMMA, by_layer(), []),
    (by_layer(), GEMMA, []),
    (by_layer(), by_layer(), []),
    (GEMMA, by_layer(factor=4.0), ["factor 4.0 for 8.0"]),
    (by_layer(), by_layer(theta=1e5), ["rope_theta 100000.0 for 1000000.0"]),
    (GEMMA, by_layer(local=2e4), ["sliding_attention rope_theta 20000.0 for 10000.0"]),
    ({"rope_theta": 1e6}, by_layer(), ["rope_type 'linear' for 'default'"]),
    (GEMMA, {"rope_parameters": {"sliding_attention": {"rope_type": "default"}}}, []),
    (LLAMA, LLAMA, []),
    (LLAMA, {"model_type": "llama", "rope_theta": 10000}, []),  # as older versions write it
    (LLAMA, {"model_type": "llama", "rope_theta": 10000, "rope_scaling": None}, []),
    (LLAMA, {"model_type": "llama"}, []),
    (LLAMA, {}, []),
    (LLAMA, {"text_config": LLAMA, "model_type": "llava"}, []),
    (LLAMA, {"model_type": "llama", "rope_theta": 1e6}, ["rope_theta 1000000.0 for 10000.0"]),
    ({"rope_theta": 1e4}, {"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.0}},
     ["rope_type 'linear' for 'default'"]),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
     {"rope_scaling": {"type": "yarn", "factor": 8.0}}, ["factor 8.0 for 4.0"]),
    (QWEN, QWEN | {"sliding_window": 16}, ["sliding_window 16 for 4096"]),
    (QWEN, QWEN | {"use_sliding_window": False}, ["sliding_window None for 4096"]),
    (QWEN | {"use_sliding_window": False}, QWEN | {"sliding_window": None}, []),
    (LLAMA, LLAMA | {"model_type": "mistral", "sliding_window": 16},
     ["model_type 'mistral' for 'llama'", "sliding_window 16 for None"]),
    ({"num_attention_heads": 8}, {"num_attention_heads": 4}, ["num_attention_heads 4 for 8"]),
    (LLAMA, LLAMA | {"vocab_size": 7, "dtype": "bfloat16", "use_cache": False}, []),
])  # fmt: skip
def test_settings_that_differ(ours, theirs, found):
    assert differing_settings(ours, theirs) == found


def test_an_expert_with_other_settings_is_warned_of(base, tmp_path, caplog):
    model().save_pretrained(tmp_path / "same")
    model().save_pretrained(tmp_path / "rope")
    change_json(
        tmp_path / "rope" / "config.json", rope_parameters={"rope_theta": 1e6, "factor": 2.0}
    )
    warn_of_origin(tmp_path / "same", base)
    assert not caplog.records
    merge_to_disk(base, {tmp_path / "rope": 0.5}, tmp_path / "out")
    warned = [r.message for r in caplog.records if "other settings" in r.message]
    assert len(warned) == 1
    assert warned[0].startswith(str(tmp_path / "rope"))
    assert "(rope_theta 1000000.0 for 10000.0)" in warned[0]


def test_many_differences_are_counted(base, tmp_path, caplog):
    model().save_pretrained(tmp_path / "other")
    unlike = {"rope_theta": 2.0, "num_attention_heads": 1, "head_dim": 3, "hidden_act": "gelu"}
    change_json(
        tmp_path / "other" / "config.json", rms_norm_eps=0.5, rope_parameters=None, **unlike
    )
    warn_of_origin(tmp_path / "other", base)
    assert caplog.text.count("; ") == 4
    assert "; 1 more)" in caplog.text


@pytest.mark.parametrize(("stated", "known", "warned"), [
    ("someone/other-model-v2", None, True),
    ("someone/other-model-v2", "someone/other-model-v2", False),
    ("/elsewhere/Other-Model-v2/", "someone/other-model-v2", False),
    ("base", None, False),
    (None, None, False),
])  # fmt: skip
def test_an_adapter_of_another_base(base, tmp_path, caplog, stated, known, warned):
    make_lora(tmp_path / "lora")
    change_json(tmp_path / "lora" / "adapter_config.json", base_model_name_or_path=stated)
    warn_of_origin(tmp_path / "lora", base, known)
    assert len(caplog.records) == warned
    if warned:
        assert f"says that it was trained from {stated!r}, and the base is {base}" in caplog.text


def test_a_base_in_the_cache_of_the_hub(base, tmp_path, caplog):
    snapshot = tmp_path / "models--someone--other-model-v2" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    base.rename(snapshot)
    make_lora(tmp_path / "lora")
    file = tmp_path / "lora" / "adapter_config.json"
    change_json(file, base_model_name_or_path="someone/other-model-v2")
    warn_of_origin(tmp_path / "lora", snapshot)
    change_json(file, base_model_name_or_path=str(snapshot))
    warn_of_origin(tmp_path / "lora", snapshot)
    assert not caplog.records
