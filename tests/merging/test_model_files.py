import json

import pytest
from models_for_tests import tokenizer
from transformers import AutoTokenizer

from mixopt.errors import ModelError
from mixopt.merging.model_files import copy_model_files, copy_tokenizer


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    config = {"vocab_size": 10, "torch_dtype": "float32", "text_config": {"hidden_size": 4}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("base")
    (folder / "vocab.json").write_text("base")
    (folder / "model.safetensors").write_text("weights")
    (folder / "model-q4.gguf").write_text("weights")
    (tmp_path / "out").mkdir()
    return folder


def test_everything_but_weights_is_copied_as_it_is(base, tmp_path):
    copy_model_files(base, tmp_path / "out")
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["config.json", "tokenizer.json", "vocab.json"]
    assert (tmp_path / "out" / "config.json").read_bytes() == (base / "config.json").read_bytes()


PLAIN, TOOLS = "{{ messages[0].content }}", "{{ tools }}"


@pytest.mark.parametrize("templates", [PLAIN, {"default": PLAIN, "tools": TOOLS}])
@pytest.mark.parametrize("in_config", [False, True])
def test_chat_templates_are_kept(templates, in_config, tmp_path):
    base, expert, out = tmp_path / "base", tmp_path / "expert", tmp_path / "out"
    out.mkdir()
    own = tokenizer()
    own.chat_template = templates
    own.save_pretrained(base, save_jinja_files=not in_config)
    assert (base / "chat_template.jinja").exists() != in_config
    copy_model_files(base, out)
    assert AutoTokenizer.from_pretrained(out).chat_template == templates
    own.chat_template = other = {"default": PLAIN + "!", "search": TOOLS}
    own.save_pretrained(expert)
    copy_tokenizer(expert, 301, out)
    assert AutoTokenizer.from_pretrained(out).chat_template == other


def test_the_configuration_says_what_is_written(base, tmp_path):
    copy_model_files(base, tmp_path / "out", dtype="bfloat16", untied=True, rows=12)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config == {
        "vocab_size": 12, "dtype": "bfloat16", "tie_word_embeddings": False,
        "text_config": {"hidden_size": 4, "tie_word_embeddings": False, "vocab_size": 12},
    }  # fmt: skip
    (base / "config.json").write_text("{")
    copy_model_files(base, tmp_path / "out")
    with pytest.raises(ModelError, match="cannot be read"):
        copy_model_files(base, tmp_path / "out", rows=12)


def test_the_tokenizer_with_all_rows_takes_the_place_of_the_base_s(base, tmp_path, caplog):
    out, expert = tmp_path / "out", tmp_path / "e"
    expert.mkdir()
    copy_model_files(base, out)
    copy_tokenizer(expert, 12, out)
    assert "has no tokenizer: the merge has 12 rows, and the base's tokenizer" in caplog.text
    (expert / "tokenizer.json").write_text("expert")
    copy_tokenizer(expert, 12, out)
    assert (out / "tokenizer.json").read_text() == "expert"
    assert not (out / "vocab.json").exists()  # of another tokenizer
