import numpy as np
import pytest
import yaml
from plans import PROPOSAL, proposal

import mixopt

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
sources:
- source_name: web
  target_ratio: 0.666666667
  paths:
  - /d/web/*.npy
  max_repetition_ratio: 4.0
- source_name: code
  target_ratio: 0.333333333
  paths:
  - /d/code/*.npy
  max_repetition_ratio: 4.0
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "olmo-core", paths="/d/{domain}/*.npy") == GOLDEN


def test_globs_that_the_trainer_takes_for_names_are_expanded(tmp_path):
    """OLMo-core expands a path that holds a `*`."""
    for name in ("web_0.npy", "web_1.npy"):
        (tmp_path / name).write_text("x")
    star = str(tmp_path / "w*_[01].npy")
    for given, paths in (
        (str(tmp_path / "web_[01].npy"), [str(tmp_path / f"web_{i}.npy") for i in (0, 1)]),
        (star, [star]),
    ):
        text = mixopt.export(PROPOSAL, "olmo-core", paths={"web": given, "code": "s3://b/c?.npy"})
        web, code = yaml.safe_load(text)["sources"]
        assert web["paths"] == paths
        assert code["paths"] == ["s3://b/c?.npy"]


def test_without_a_cap_the_trainer_s_own_is_what_the_budget_needs():
    budget = mixopt.Budget(6_000_000, {"web": 10_000_000, "code": 1_000_000})
    text = mixopt.export(
        proposal({"web": 0.5, "code": 0.5}, budget=budget), "olmo-core", paths="{domain}"
    )
    web, code = yaml.safe_load(text)["sources"]
    assert "max_repetition_ratio" not in web
    assert 3.0 < code["max_repetition_ratio"] < 3.1


def test_a_proposal_on_its_cap_leaves_room_for_rounding():
    budget = mixopt.Budget(7e9, {"web": 1e10, "code": 1e6}, {"web": 4.0, "code": 4.0})
    cap = 4e6 / 7e9
    text = mixopt.export(
        proposal({"web": 1 - cap, "code": cap}, budget=budget), "olmo-core", paths="{domain}"
    )
    code = yaml.safe_load(text)["sources"][1]
    assert code["target_ratio"] * 7e9 < code["max_repetition_ratio"] * 1e6 < 4.1e6


@pytest.mark.filterwarnings("ignore")
def test_the_real_library_builds_the_mixture(tmp_path):
    mixtures = pytest.importorskip(
        "olmo_core.data.source_mixture", reason="ai2-olmo-core is not installed"
    )
    from olmo_core.data.types import NumpyDatasetDType

    for name, tokens in (("web", 100_000), ("code", 50_000)):
        (tmp_path / name).mkdir()
        np.memmap(tmp_path / name / "0.npy", dtype=np.uint16, mode="w+", shape=tokens)[:] = 1
    text = mixopt.export(PROPOSAL, "olmo-core", paths=str(tmp_path / "{domain}" / "*.npy"))
    sources = mixtures.SourceMixtureList.from_dict(yaml.safe_load(text))
    sources.validate()
    wanted = mixtures.SourceMixtureDatasetConfig(
        source_list=sources, requested_tokens=64_000, global_batch_size=1024, processes=1, seed=0
    )
    built = wanted.build(npdtype=NumpyDatasetDType.uint16.as_np_dtype(), sequence_length=64)
    tokens = {
        source.name: sum(path.tokens for path in source.path_tokens) for source in built.sources
    }
    assert tokens["web"] / sum(tokens.values()) == pytest.approx(2 / 3, abs=0.02)
