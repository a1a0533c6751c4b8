import runpy

import pytest
from plans import PROPOSAL

import mixopt


def test_the_module_names_shares_of_tokens():
    text = mixopt.export(PROPOSAL, "litdata", paths="/d/{domain}", block_size=129, seed=7)
    assert "'web': 0.666666667,\n    'code': 0.333333333,\n}" in text
    assert "block_size: int = 129, seed: int = 7" in text
    assert "iterate_over_all=False" in text
    assert "law'" not in text


@pytest.mark.filterwarnings("ignore")
def test_the_real_library_draws_blocks_in_the_proposed_ratios(tmp_path):
    litdata = pytest.importorskip("litdata", reason="litdata is not installed")
    import torch

    for value, name in enumerate(("web", "code")):
        (tmp_path / name).mkdir()
        loader = litdata.TokensLoader(block_size=16)
        cache = litdata.streaming.Cache(
            str(tmp_path / name), chunk_bytes="64KB", item_loader=loader
        )
        for index in range(400):
            cache[index] = torch.full((50,), value, dtype=torch.int32)
        cache.done()
        cache.merge()
    out = tmp_path / "mixture.py"
    mixopt.export(PROPOSAL, "litdata", paths=str(tmp_path / "{domain}"), out=out, block_size=16)
    dataset = runpy.run_path(str(out))["load"]()
    drawn = [int(block[0]) for block, _ in zip(dataset, range(1000), strict=False)]
    assert 1 - sum(drawn) / len(drawn) == pytest.approx(2 / 3, abs=0.05)
