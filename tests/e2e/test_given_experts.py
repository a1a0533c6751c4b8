"""Experts that were trained elsewhere, by path: no training of ours."""

import json

import numpy as np
import pytest
import torch
import toy
import yaml
from calling import call
from models_for_tests import family, model, tokenizer
from safetensors.torch import load_file, save_file

import mixopt
from mixopt.errors import ConfigError, DataError, ModelError


def moved(network, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network


def given_study(folder, make, *, names=tuple(toy.WORDS), text=False, **changes):
    """A study whose base and experts are saved as transformers saves them."""
    make().save_pretrained(folder / "base")
    tokenizer().save_pretrained(folder / "base")
    for seed, domain in enumerate(names):
        moved(make(), seed).save_pretrained(folder / "given" / domain, max_shard_size="30KB")
    path = toy.write_study(
        folder,
        base={"kind": "pretrained", "path": "base", "context": 32},
        search={"rounds": [7], "natural": dict.fromkeys(toy.WORDS, 1 / 3)},
        **changes,
    )
    for domain in names if not text else ():
        file = folder / "experts" / f"{domain}.yaml"
        file.write_text(yaml.safe_dump({"domain": domain, "checkpoint": f"../given/{domain}"}))
    return path


def load(path, **options):
    folder = path.parent
    return mixopt.Study.load(path, folder / "out", cache=folder / "cache", device="cpu", **options)


@pytest.mark.parametrize("make", [lambda: model("qwen2"), lambda: family("mixtral")])
def test_checkpoints_from_elsewhere_are_searched_without_training(make, tmp_path):
    study = load(given_study(tmp_path, make))
    trials = study.search()
    assert len(trials.where(kind="merged")) == 7
    assert not (tmp_path / "out" / "artifacts" / "experts").exists()
    # a corner is the expert itself, as transformers loads and scores it
    from transformers import AutoModelForCausalLM

    expert = AutoModelForCausalLM.from_pretrained(tmp_path / "given" / "ships").eval()
    scorer = study.prepare().scorer
    expected = scorer.read(scorer.logprobs(expert))
    found = study.open_search().evaluator.score([0.0, 1.0, 0.0])["merged"]
    for name, result in expected.items():
        assert np.allclose(result.values, found[name].values, atol=1e-3), name
    proposal = study.propose(trials)[0]
    assert sum(proposal.ratios.values()) == pytest.approx(1)


def test_from_the_shell(tmp_path, caplog):
    path = given_study(tmp_path, lambda: model("qwen2"), text=True)
    given = [word for name in toy.WORDS for word in ("--experts", tmp_path / "given" / name)]
    told = call("search", path, "-o", tmp_path / "out", "--device", "cpu", "--no-track", *given)
    assert "Expert 'ships' is given" in told
    assert f"Results   {tmp_path / 'out'}: trials.csv" in told
    assert not (tmp_path / "out" / "artifacts" / "experts").exists()
    given[1] = f"brds={tmp_path / 'given' / 'birds'}"
    told = call("search", path, "--device", "cpu", "--no-track", *given, code=2)
    assert "Did you mean 'birds'" in told
    twice = [*given[2:4], *given[2:4]]
    assert "twice" in call("search", path, "--device", "cpu", "--no-track", *twice, code=2)


def test_the_last_checkpoint_of_a_run_is_searched(tmp_path):
    path = given_study(tmp_path, lambda: model("qwen2"))
    ships = tmp_path / "given" / "ships"
    ships.rename(tmp_path / "checkpoint-20")
    ships.mkdir()
    (tmp_path / "checkpoint-20").rename(ships / "checkpoint-20")
    (ships / "checkpoint-3").mkdir()
    told = call("search", path, "-o", tmp_path / "out", "--device", "cpu", "--no-track")
    assert f"Expert 'ships' is given: {ships / 'checkpoint-20'}" in told.replace("\n", "")


def test_a_base_that_is_the_folder_of_a_run_or_saved_from_a_wrapper(tmp_path, caplog):
    path = given_study(tmp_path, lambda: model("qwen2"))
    expected = load(path).search().to_frame()
    base = tmp_path / "base"
    for file in base.glob("*.safetensors"):
        tensors = {f"_orig_mod.{name}": t for name, t in load_file(file).items()}
        save_file(tensors, file, metadata={"format": "pt"})
    found = load(path).search().to_frame()
    assert found.drop(columns="flops").equals(expected.drop(columns="flops"))
    base.rename(tmp_path / "checkpoint-20")
    base.mkdir()
    (tmp_path / "checkpoint-20").rename(base / "checkpoint-20")
    caplog.clear()
    found = load(path).search().to_frame()
    assert found.drop(columns="flops").equals(expected.drop(columns="flops"))
    assert f"{base} holds checkpoints only; its last one, checkpoint-20, is the base" in caplog.text


def test_experts_with_another_vocabulary_and_other_names_are_searched(tmp_path, caplog):
    make = lambda: model("gpt2")  # noqa: E731
    path = given_study(tmp_path, make)
    larger = moved(make(), 1)
    larger.resize_token_embeddings(308, mean_resizing=False)
    for file in (tmp_path / "given" / "ships").iterdir():
        file.unlink()
    larger.save_pretrained(tmp_path / "given" / "ships")
    hub = tmp_path / "given" / "birds"
    tensors = dict(moved(make(), 2).named_parameters())
    for file in hub.glob("*.safetensors*"):
        file.unlink()
    plain = {n.removeprefix("transformer."): t.detach().clone() for n, t in tensors.items()}
    save_file(plain, hub / "model.safetensors", metadata={"format": "pt"})
    assert len(load(path).search().where(kind="merged")) == 7
    assert "has a vocabulary of 308 rows and the base 300" in caplog.text


def test_an_expert_saved_from_a_wrapper_is_searched(tmp_path):
    study = load(given_study(tmp_path, lambda: model("qwen2")))
    expected = study.search().to_frame()
    for file in (tmp_path / "given" / "ships").glob("*.safetensors*"):
        if file.suffix == ".json":
            index = json.loads(file.read_text())
            index["weight_map"] = {f"module.{n}": p for n, p in index["weight_map"].items()}
            file.write_text(json.dumps(index))
        else:
            tensors = {f"module.{name}": t for name, t in load_file(file).items()}
            save_file(tensors, file, metadata={"format": "pt"})
    found = load(tmp_path / "toy.yaml").search().to_frame()
    assert found.equals(expected)


def test_what_cannot_be_known_without_text_is_asked_for(tmp_path):
    path = given_study(tmp_path, lambda: model("qwen2"))
    plain = yaml.safe_load(path.read_text())
    del plain["search"]["natural"]
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError, match=r"give its available_tokens, or search\.natural"):
        load(path).search()


def test_proxy_runs_need_text(tmp_path):
    path = given_study(tmp_path, lambda: model("qwen2"), validation={"mixtures": 4, "seeds": 1})
    with pytest.raises(
        DataError,
        match="and .birds. has no text; give its expert a text, or leave the validation out",
    ):
        load(path).run()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base": toy.study_plain()["base"]}, "the base is built here"),
        ({"training": toy.study_plain()["training"] | {"compositions": {"x": {"birds": 1.0}}}},
         "training.compositions names experts of its own"),
    ],
)  # fmt: skip
def test_recipes_that_contradict_themselves(tmp_path, changes, words):
    given_study(tmp_path, lambda: model("qwen2"))
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    with pytest.raises(ConfigError, match=words):
        load(path)


def test_an_expert_from_nowhere(tmp_path):
    path = given_study(tmp_path, lambda: model("qwen2"))
    (tmp_path / "experts" / "birds.yaml").write_text("domain: birds\n")
    with pytest.raises(ConfigError, match="neither text nor checkpoint"):
        load(path)
    (tmp_path / "experts" / "birds.yaml").write_text("domain: birds\ncheckpoint: ../given/brds\n")
    with pytest.raises(ModelError, match="does not exist; correct its checkpoint"):
        load(path).search()


def test_pickled_experts_are_opened_where_that_is_allowed(tmp_path):
    path = given_study(tmp_path, lambda: model("qwen2"))
    folder = tmp_path / "given" / "birds"
    state = dict(moved(model("qwen2"), 0).named_parameters())
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    torch.save({name: t.detach() for name, t in state.items()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can hold code"):
        load(path).search()
    recipe = tmp_path / "experts" / "birds.yaml"
    recipe.write_text(recipe.read_text() + "allow_pickle: true\n")
    assert len(load(path).search()) == 14


def test_experts_of_another_base_are_warned_of(tmp_path, caplog):
    path = given_study(tmp_path, lambda: family("qwen2"))
    family("qwen2", seed=9).save_pretrained(tmp_path / "other")
    load(path, experts={"birds": tmp_path / "other"}).search()
    warned = [r.message for r in caplog.records if "from another base" in r.message]
    assert len(warned) == 1
    assert str(tmp_path / "other") in warned[0]


def test_an_expert_with_other_settings_is_warned_of(tmp_path, caplog):
    path = given_study(tmp_path, lambda: model("qwen2"))
    file = tmp_path / "given" / "ships" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"rope_parameters": {"rope_theta": 1e6}}))
    load(path).search()
    warned = [r.message for r in caplog.records if "other settings" in r.message]
    assert len(warned) == 1
    assert warned[0].startswith(str(tmp_path / "given" / "ships"))


@pytest.mark.parametrize("spoiled", ["base", "given/ships"])
def test_weights_that_are_no_numbers_end_a_study_before_anything_is_trained(tmp_path, spoiled):
    path = given_study(tmp_path, lambda: model("qwen2"), text=spoiled == "base")
    file = next((tmp_path / spoiled).glob("*.safetensors"))
    tensors = load_file(file)
    next(iter(tensors.values())).flatten()[0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    study = load(path)
    what = "The base" if spoiled == "base" else "Expert 'ships'"
    for _ in range(2):
        with pytest.raises(ModelError, match=f"{what} cannot be used: .* holds NaN or infinity"):
            study.search()
    assert not (tmp_path / "out" / "artifacts" / "experts").exists()


def test_given_weights_are_read_once(tmp_path, monkeypatch):
    path = given_study(tmp_path, lambda: model("qwen2"))
    load(path).prepare()
    monkeypatch.setattr("mixopt.merging.weights_check.open_tensors", lambda _: pytest.fail("read"))
    load(path).prepare()


@pytest.mark.parametrize("spoiled", ["base", "given/ships"])
@pytest.mark.parametrize("kind", ["config", "codes", "gguf"])
def test_quantized_models_end_a_study_before_anything_is_tokenized(tmp_path, spoiled, kind):
    path = given_study(tmp_path, lambda: model("qwen2"), text=spoiled == "base")
    folder = tmp_path / spoiled
    if kind == "config":
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
        (folder / "config.json").write_text(json.dumps(config))
    for file in folder.glob("*.safetensors*") if kind == "gguf" else ():
        file.unlink()
    if kind == "gguf":
        (folder / "model.gguf").write_bytes(b"GGUF" + bytes(60))
    if kind == "codes":
        file = next(folder.glob("*.safetensors"))
        tensors = load_file(file)
        name = next(name for name in tensors if tensors[name].dim() > 1)
        tensors[name] = tensors[name].to(torch.int8)
        save_file(tensors, file, metadata={"format": "pt"})
    what = "The base" if spoiled == "base" else "Expert 'ships'"
    problem = "is a GGUF file" if kind == "gguf" else "is quantized"
    with pytest.raises(ModelError, match=f"{what} at .* {problem}"):
        load(path).search()
    assert {p.name for p in (tmp_path / "cache").glob("*")} <= {"dequantized", "failures"}


def test_domains_with_dots_and_slashes_are_trained_and_searched(tmp_path):
    path = toy.write_study(tmp_path, search={"rounds": [7]})
    for folder in ("experts", "benchmarks"):
        for file in (tmp_path / folder).glob("*.yaml"):
            plain = yaml.safe_load(file.read_text())
            for key in ("domain", "own_domain"):
                if plain.get(key) == "birds":
                    plain[key] = "zoo/birds-1.0"
            file.write_text(yaml.safe_dump(plain))
    study = load(path)
    assert "zoo/birds-1.0" in study.propose(study.search())[0].ratios
    built = sorted(folder.name for folder in (tmp_path / "out" / "artifacts" / "experts").iterdir())
    assert any(name.startswith("zoo_birds-1.0-") for name in built)
    again = load(path)
    assert again.propose(again.search())[0].ratios == study.propose(study.search())[0].ratios
