import json

import pytest
import torch
from models_for_tests import family, model
from safetensors.torch import load_file, save_file

from mixopt.errors import ModelError
from mixopt.merging.full_precision import require_full_precision, require_unquantized
from mixopt.merging.to_disk import merge_to_disk


def bitsandbytes(name, weight):
    codes = torch.randint(0, 255, (weight.numel() // 2, 1), dtype=torch.uint8)
    return {name: codes, f"{name}.absmax": torch.rand(weight.numel() // 64 + 1)}


def gptq(name, weight):
    stem, (rows, columns) = name.removesuffix(".weight"), weight.shape
    codes = torch.zeros(columns // 8, rows, dtype=torch.int32)
    return {f"{stem}.qweight": codes, f"{stem}.scales": torch.rand(1, rows).half()}


def int8(name, weight):
    scale = weight.abs().amax(1, keepdim=True) / 127
    return {name: (weight / scale).round().to(torch.int8), f"{name}_scale": scale}


def fp8(name, weight):
    return {name: weight.to(torch.float8_e4m3fn), f"{name}_scale_inv": torch.ones(1, 1)}


FORMATS = {
    "bitsandbytes": bitsandbytes,
    "gptq": gptq,
    "awq": gptq,
    "compressed-tensors": int8,
    "fp8": fp8,
}


def save_quantized(folder, method, *, told=True):
    """A model whose projections are codes and scales; `told` adds its `quantization_config`."""
    model().save_pretrained(folder)
    file = folder / "model.safetensors"
    quantized = {}
    for name, weight in load_file(file).items():
        quantized |= FORMATS[method](name, weight) if "proj" in name else {name: weight}
    save_file(quantized, file, metadata={"format": "pt"})
    if told:
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = {"quant_method": method}
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("method", FORMATS)
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("role", ["base", "expert", "both"])
def test_codes_are_not_merged(tmp_path, method, told, role):
    plain, codes = tmp_path / "plain", save_quantized(tmp_path / "codes", method, told=told)
    model().save_pretrained(plain)
    base, expert = (plain if role == "expert" else codes), (plain if role == "base" else codes)
    what = "The expert" if role == "expert" else "The base"
    found = f"method '{method}'" if told else "(tensor 'model.layers"
    with pytest.raises(ModelError) as error:
        merge_to_disk(base, {expert: 0.5}, tmp_path / "out")
    assert str(error.value).startswith(f"{what} at {codes} is quantized (")
    assert found in str(error.value)
    assert "use the bfloat16, float16 or float32 checkpoint" in str(error.value)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("whole", [True, False])
def test_gguf_is_not_merged(tmp_path, whole):
    model().save_pretrained(tmp_path / "base")
    folder = tmp_path / "gguf"
    folder.mkdir()
    (folder / "model-q4_k_m.gguf").write_bytes(b"GGUF" + bytes(100))
    place = folder if whole else folder / "model-q4_k_m.gguf"
    for base, expert in ((place, tmp_path / "base"), (tmp_path / "base", place)):
        with pytest.raises(ModelError, match="is a GGUF file"):
            merge_to_disk(base, {expert: 0.5}, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_a_gguf_file_beside_safetensors_is_left_alone(tmp_path):
    model().save_pretrained(tmp_path)
    (tmp_path / "model-q4_k_m.gguf").write_bytes(b"GGUF")
    require_full_precision(tmp_path, "The base")


@pytest.mark.parametrize("name", ["gpt2", "mixtral", "gpt_neox"])
def test_full_precision_is_fine(tmp_path, name):
    family(name).to(torch.bfloat16).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    old = {
        "h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.uint8),
        "embeddings.position_ids": torch.arange(4)[None],
        "steps": torch.tensor(7),
    }
    save_file(load_file(file) | old, file)
    require_full_precision(tmp_path, "The base")


def test_pickled_codes(tmp_path):
    codes = {"up_proj.weight": torch.zeros(4, 4, dtype=torch.int8)}
    torch.save(codes, tmp_path / "pytorch_model.bin")
    require_full_precision(tmp_path, "The base")  # not opened
    with pytest.raises(ModelError, match="'up_proj.weight' is I8"):
        require_full_precision(tmp_path, "The base", allow_pickle=True)
    fp8_codes = {"up_proj.weight": torch.zeros(4, 4).to(torch.float8_e5m2)}
    torch.save(fp8_codes, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="float8_e5m2"):
        require_full_precision(tmp_path, "The base", allow_pickle=True)


def test_adapters_are_judged_by_their_factors(tmp_path):
    save_quantized(tmp_path, "bitsandbytes")
    factors = {"base_model.model.x.lora_A.weight": torch.ones(2, 4)}
    save_file(factors, tmp_path / "adapter_model.safetensors")
    require_full_precision(tmp_path, "The expert")
    save_file(
        {n: t.to(torch.int8) for n, t in factors.items()}, tmp_path / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match=r"lora_A.weight' is I8"):
        require_full_precision(tmp_path, "The expert")


def test_a_text_model_inside_another(tmp_path):
    require_unquantized(
        {"text_config": {"hidden_size": 8}, "quantization_config": None}, "The base"
    )
    with pytest.raises(ModelError, match="The base org/name is quantized .* method 'awq'"):
        require_unquantized({"text_config": {"quantization_config": {"quant_method": "awq"}}},
                            "The base org/name")  # fmt: skip


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"llm_config": {"quantization_config": {"quant_method": "hqq"}}},
            "quantization_config, method 'hqq'",
        ),
        ({"a": {"b": {"quantization_config": {"quant_algo": "FP8"}}}}, "method 'FP8'"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "has a quantization, method 4"),
        ({"compression_config": {"format": "int-quantized"}}, "method 'int-quantized'"),
    ],
)
def test_configurations_of_other_quantizers(config, told):
    with pytest.raises(ModelError, match=told):
        require_unquantized(config, "The base")
    require_unquantized(
        {"llm_config": {"quantization_config": {}}, "quantization": None}, "The base"
    )


@pytest.mark.parametrize(
    "name", ["quantize_config.json", "quant_config.json", "hf_quant_config.json"]
)
def test_files_of_quantizers_beside_a_plain_configuration(tmp_path, name):
    model().save_pretrained(tmp_path)
    (tmp_path / name).write_text('{"bits": 4}')
    with pytest.raises(ModelError, match=f"is quantized .it has a {name}"):
        require_full_precision(tmp_path, "The expert")


def test_a_config_that_is_none(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="is no configuration that transformers can read"):
        require_full_precision(tmp_path, "The base")
