import runpy

import pytest
from plans import PROPOSAL, proposal

import mixopt


def test_the_module_names_shares_of_tokens():
    text = mixopt.export(PROPOSAL, "litdata", paths="/d/{domain}", block_size=129, seed=7)
    assert "'web': 0.666666667,\n    'code': 0.333333333,\n}" in text
    assert "block_size: int = 129, seed: int = 7" in text
    assert "iterate_over_all=False" in text
    assert "law'" not in text


def test_the_module_says_how_many_passes_a_run_takes():
    """A pass ends as soon as one domain does: the run reads code 2.5 times and web less than once."""
    assert "as soon as one domain does" in mixopt.export(PROPOSAL, "litdata", paths="/d/{domain}")
    plan = proposal({"web": 0.5, "code": 0.5, "law": 0.0}, 10_000_000)
    text = mixopt.export(plan, "litdata", paths="/d/{domain}")
    assert "until the run has read its tokens (about 3 passes)." in text
    assert "(about" not in mixopt.export(PROPOSAL, "litdata", paths="/d/{domain}")


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
