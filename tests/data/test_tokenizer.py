import json

import pytest
from models_for_tests import model, save_base, starting_tokenizer, tokenizer

from mixopt.config.training import BuiltBaseConfig, TrainingConfig
from mixopt.data.tokenizer import build_tokenizer, first_token, load_tokenizer, start_token
from mixopt.errors import DataError, ModelError


def test_tokenizer_gives_text_back_and_separates_documents():
    tokens = tokenizer()
    text = "a grey ship — naïve \n\t two"
    assert tokens.decode(tokens(text)["input_ids"]) == text
    assert tokens.eos_token_id is not None
    assert len(tokens) == 300


def test_too_little_text_for_the_vocabulary():
    with pytest.raises(DataError, match="fewer than the vocabulary of 5,000"):
        build_tokenizer(
            ["some words"],
            BuiltBaseConfig(
                kind="build", vocabulary=5000, context=32, training=TrainingConfig(tokens=1000)
            ),
        )


def test_base_without_a_tokenizer(tmp_path):
    model().save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(tmp_path / "base")


def test_tokenizer_without_an_end_of_text(tmp_path):
    folder = save_base(tmp_path / "base")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config = {k: v for k, v in config.items() if k not in ("eos_token", "bos_token", "pad_token")}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="no end-of-text token"):
        load_tokenizer(folder)


@pytest.mark.parametrize("padded", [False, True])
def test_a_start_token_is_one_that_the_tokenizer_puts_before_a_text(padded):
    """The first token of a chat model's turn is its `bos_token`, and begins no document."""
    for own in (with_start := starting_tokenizer(starts=True), starting_tokenizer(starts=False)):
        if padded:
            own.backend_tokenizer.enable_padding(length=8, direction="left")
        before = own.backend_tokenizer.to_str()
        starts = own is with_start
        assert start_token(own) == (own.bos_token_id if starts else None)
        assert first_token(own) == (own.bos_token_id if starts else own.eos_token_id)
        assert own.backend_tokenizer.to_str() == before
        assert own.bos_token_id != own.eos_token_id
    plain = tokenizer()
    assert start_token(plain) is None
    assert first_token(plain) == plain.eos_token_id == plain.bos_token_id


def test_a_start_token_of_a_tokenizer_without_a_fast_form():
    from transformers import ByT5Tokenizer

    assert start_token(ByT5Tokenizer(bos_token="<s>")) is None
