import pytest
import yaml
from plans import OPTIONS, PROPOSAL, SCHEDULE, proposal

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters.check import check_config
from mixopt.schedule import Phase, Schedule
from mixopt.token_budget import Budget

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
data:
  components:
    web:
      source:
        type: url
        train_urls:
        - /d/web.jsonl
    code:
      source:
        type: url
        train_urls:
        - /d/code.jsonl
  train_weights:
    web: 0.666666667
    code: 0.333333333
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "levanter", paths="/d/{domain}.jsonl") == GOLDEN


def test_phases_begin_with_whole_blocks():
    """4,096,000 tokens are 4,000 steps of 8 x 128; a block of 16,000 sequences is 2,000 steps."""
    text = mixopt.export(SCHEDULE, "levanter", paths="{domain}", **OPTIONS["levanter"])
    data = yaml.safe_load(text)["data"]
    assert data["mixture_block_size"] == 16_000
    assert [step for step, _ in data["train_weights"]] == [0, 4000]
    assert data["train_weights"][1][1] == {"web": 0.25, "code": 0.5, "law": 0.25}


def test_what_phases_need_is_asked_for():
    with pytest.raises(ExportError, match="needs the option 'batch_sequences'"):
        mixopt.export(SCHEDULE, "levanter", paths="{domain}")
    with pytest.raises(ExportError, match="'batch_sequences' is 'x'; give a whole number"):
        mixopt.export(SCHEDULE, "levanter", paths="{domain}", batch_sequences="x", context=1)
    options = {"batch_sequences": 1, "context": 1024, "mixture_block_size": 16384}
    with pytest.raises(ExportError, match="A phase is shorter than 16384 steps"):
        mixopt.export(SCHEDULE, "levanter", paths="{domain}", **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("plan", [PROPOSAL, SCHEDULE])
def test_the_real_config(plan):
    text_module = pytest.importorskip(
        "levanter.data.text", reason="marin-levanter is not installed"
    )
    draccus = pytest.importorskip("draccus")
    options = OPTIONS["levanter"] if plan is SCHEDULE else {}
    plain = yaml.safe_load(mixopt.export(plan, "levanter", paths="/d/{domain}.jsonl", **options))
    config = draccus.decode(text_module.LmDataConfig, plain["data"])
    if plan is PROPOSAL:
        assert config.train_weights == {"web": 0.666666667, "code": 0.333333333}
    else:
        assert [step for step, _ in config.train_weights] == [0, 4000]
    assert config.components["web"].source.train_urls == ["/d/web.jsonl"]


def draw(data, stage=None):
    """Sequences of a block by domain, as levanter's `_compute_expected_counts_per_block` counts them."""
    weights = data["train_weights"] if stage is None else data["train_weights"][stage][1]
    block, total = data.get("mixture_block_size", 2048), sum(weights.values())
    counts = {name: int(weight / total * block) for name, weight in weights.items()}
    counts[max(counts, key=counts.get)] += block - sum(counts.values())
    return {name: count / block for name, count in counts.items()}


def write(ratios, **options):
    return mixopt.export(ratios, "levanter", paths="{domain}", **options)


def read(text):
    return yaml.safe_load(text)["data"]


@pytest.mark.parametrize(
    "small",
    [{"law": 0.0007}, {"law": 0.0007, "maths": 0.0013, "news": 0.0031}, {"law": 0.00002}],
    ids=["one", "several", "tiny"],
)
def test_small_shares_are_drawn_within_a_percent(small):
    """Of the default block levanter would draw 1 of 2,048 sequences instead of 1.43."""
    ratios = {"web": 1 - sum(small.values()), **small}
    assert draw(read(write(ratios)) | {"mixture_block_size": 2048}) != pytest.approx(
        ratios, rel=0.2
    )
    text = write(ratios)
    assert 2048 < read(text)["mixture_block_size"] < 2**16
    assert draw(read(text)) == pytest.approx(ratios, rel=0.01)
    (part,) = check_config(ratios, "levanter", text)
    assert part.largest < 1e-8


def test_shares_that_no_block_can_draw(caplog):
    with pytest.raises(
        ExportError, match=r"'law' \(1e-05\) is below one .*=\d+\); leave the domain out"
    ):
        write({"web": 0.99999, "law": 0.00001})
    words = r"mixture_block_size=64\); give a larger block \(at most 65535\), or leave"
    with pytest.raises(ExportError, match=words):
        write({"web": 0.99, "law": 0.01}, mixture_block_size=64)
    with pytest.raises(ExportError, match="is 65536, and levanter takes 65535 at most"):
        write({"web": 0.99, "law": 0.01}, mixture_block_size=65536)
    assert not caplog.messages
    text = write({"web": 0.97, "law": 0.03}, mixture_block_size=64)
    assert draw(read(text)) == {"web": 63 / 64, "law": 1 / 64}
    assert "1.6% law, and 3% are proposed; another mixture_block_size would be" in caplog.text
    caplog.clear()
    # levanter's largest block has 1.6 sequences of the smallest, and is nearest to 2 or to 1
    small = {f"d{i}": share for i, share in enumerate((2.4e-5, 3.1e-5, 1.7e-5, 2.9e-5))}
    write({"web": 1 - sum(small.values()), **small})
    assert "are proposed; no mixture_block_size is nearer." in caplog.text
    (part,) = check_config({"web": 0.97, "law": 0.03}, "levanter", text)
    assert part.written == {"web": 63 / 64, "law": 1 / 64}


def test_a_share_that_a_file_loses_is_told_by_the_check():
    text = "data: {train_weights: {web: 0.9999, law: 0.0001}}"
    (part,) = check_config({"web": 0.9999, "law": 0.0001}, "levanter", text)
    assert part.written == {"web": 1, "law": 0}
    with pytest.raises(
        ExportError, match="mixture_block_size of the file is 0; it should be a whole"
    ):
        check_config(
            {"web": 1.0}, "levanter", "data: {train_weights: {web: 1}, mixture_block_size: 0}"
        )


def test_phases_with_small_shares_begin_at_blocks_that_draw_them():
    small = {"web": 0.9993, "code": 0.0, "law": 0.0007}

    def plan(tokens):
        budget = Budget(tokens, dict.fromkeys(small, 10**12), {})
        last = {"web": 0.25, "code": 0.5, "law": 0.25}
        parts = (("stable", small), ("anneal", last))
        return Schedule(tuple(Phase(name, proposal(own, budget=budget)) for name, own in parts))

    data = read(write(plan(4_096_000_000), batch_sequences=1000, context=1024))
    block, (_, (second, _)) = data["mixture_block_size"], data["train_weights"]
    assert second * 1000 % block == 0
    assert second == pytest.approx(4000, rel=0.02)
    assert draw(data, 0) == pytest.approx(small, rel=0.01)
    # a phase of 4,000 sequences has no room for a block that is near enough: the nearest is taken
    data = read(write(plan(4_096_000), batch_sequences=1000, context=1024))
    block, (_, (second, _)) = data["mixture_block_size"], data["train_weights"]
    assert second * 1000 % block == 0
    assert draw(data, 0)["law"] == pytest.approx(0.0007, rel=0.05)
