import json

import pytest

import mixopt
from mixopt import Estimate, Mixture, Proposal
from mixopt.errors import ExportError

PROPOSAL = Proposal(
    Mixture({"web": 2 / 3, "code": 1 / 3, "law": 0.0}),
    Estimate(0, 0),
    {},
    tokens_per_document={"web": 100.0, "code": 200.0, "law": 50.0},
)
PATHS = {"web": "/d/web_text_document", "code": "/d/code_text_document", "law": "/d/law"}


def parse_blend(parts):
    """Megatron-Core's get_blend_from_list: pairs of weight and prefix, weights above zero."""
    weights, prefixes = [float(w) for w in parts[0::2]], parts[1::2]
    assert len(weights) == len(prefixes)
    assert all(weight > 0 for weight in weights)  # blended_dataset.py asserts this
    return dict(zip(prefixes, weights, strict=True))


def test_data_args_file_splits_into_pairs_that_sum_to_one(tmp_path):
    text = mixopt.export(PROPOSAL, "megatron", paths=PATHS, out=tmp_path / "blend.txt")
    assert (tmp_path / "blend.txt").read_text() == text
    blend = parse_blend(text.split())
    assert blend == {"/d/web_text_document": 0.666667, "/d/code_text_document": 0.333333}


def test_zero_ratios_are_dropped_and_need_no_path():
    paths = {name: path for name, path in PATHS.items() if name != "law"}
    assert "law" not in mixopt.export(PROPOSAL, "megatron", paths=paths)


def test_per_split_json_has_all_three_keys():
    text = mixopt.export(
        PROPOSAL, "megatron-per-split", paths=PATHS, valid=["1", "/d/v"], test=["/d/t"]
    )
    plain = json.loads(text)
    assert list(plain) == ["train", "valid", "test"]
    assert sum(parse_blend(plain["train"]).values()) == pytest.approx(1)
    assert plain["valid"] == ["1", "/d/v"]
    assert plain["test"] == ["/d/t"]


def test_training_data_is_never_the_default_to_validate_on():
    with pytest.raises(ExportError, match="needs the option 'valid'"):
        mixopt.export(PROPOSAL, "megatron-per-split", paths=PATHS)


def test_path_with_a_space_is_refused():
    with pytest.raises(ExportError, match="white space"):
        mixopt.export(PROPOSAL, "megatron", paths=PATHS | {"web": "/d/my web"})


def test_missing_path_is_named():
    with pytest.raises(ExportError, match="No path was given for domain 'code'"):
        mixopt.export(PROPOSAL, "megatron", paths={"web": "/d/web"})
