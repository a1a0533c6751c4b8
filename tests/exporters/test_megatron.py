import json

import pytest
from plans import PATHS, PROPOSAL, SCHEDULE

import mixopt
from mixopt.errors import ExportError


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
    assert blend == {"/d/web_text_document": 0.666666667, "/d/code_text_document": 0.333333333}


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


@pytest.mark.parametrize("path", ["/d/$(x)", "/d/a;b", "/d/`x`", "/d/a|b", "/d/'a'", "/d/a&b"])
def test_arguments_for_a_command_line_hold_no_commands(path):
    with pytest.raises(ExportError, match="a shell acts on"):
        mixopt.export(PROPOSAL, "megatron", paths=PATHS | {"web": path})


def test_paths_of_other_alphabets():
    assert "/d/日本" in mixopt.export(PROPOSAL, "megatron", paths=PATHS | {"web": "/d/日本"})


def test_missing_path_is_named():
    with pytest.raises(
        ExportError, match=r"No path was given for domain 'code'.*\(-p code=PATH on"
    ):
        mixopt.export(PROPOSAL, "megatron", paths={"web": "/d/web"})


def test_the_real_parser_reads_the_blend(tmp_path):
    utils = pytest.importorskip(
        "megatron.core.datasets.utils", reason="megatron-core is not installed"
    )
    words = mixopt.export(PROPOSAL, "megatron", paths=PATHS).split()
    prefixes, weights = utils.get_blend_from_list(words)
    assert prefixes == ["/d/web_text_document", "/d/code_text_document"]
    assert weights == [0.666666667, 0.333333333]
    train = json.loads(
        mixopt.export(PROPOSAL, "megatron-per-split", paths=PATHS, valid=["/v"], test=["/t"])
    )["train"]
    assert utils.get_blend_from_list(train) == (prefixes, weights)


def test_a_blend_for_each_phase(tmp_path):
    from mixopt.exporters.export import export_phases

    files = export_phases(SCHEDULE, "megatron", paths=PATHS, out=tmp_path / "{phase}.txt")
    assert [file.name for file in files] == ["stable.txt", "anneal.txt"]
    assert parse_blend(files[1].read_text().split()) == {
        "/d/web_text_document": 0.25, "/d/code_text_document": 0.5, "/d/law": 0.25,
    }  # fmt: skip
