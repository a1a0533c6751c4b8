import pytest
import yaml
from plans import PROPOSAL

import mixopt
from mixopt.errors import ExportError

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
# Proportions are shares of documents.
# llm-foundry cuts each document at max_seq_len, which changes the shares of tokens: write packed
# sequences (MDS) and export with --option packed=true.
train_loader:
  dataset:
    streams:
      web:
        local: /d/web
        proportion: 0.8
      code:
        local: /d/code
        proportion: 0.2
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "mosaicml-streaming", paths="/d/{domain}") == GOLDEN


def test_packed_sequences_are_shares_of_tokens():
    text = mixopt.export(
        PROPOSAL, "mosaicml-streaming", paths="s3://b/{domain}",
        packed=True, remote=True, split="train",
    )  # fmt: skip
    streams = yaml.safe_load(text)["train_loader"]["dataset"]["streams"]
    assert streams["web"] == {"remote": "s3://b/web", "split": "train", "proportion": 0.666666667}
    with pytest.raises(ExportError, match="give true or false"):
        mixopt.export(PROPOSAL, "mosaicml-streaming", paths="{domain}", packed="maybe")


def test_remote_streams_keep_a_cache_of_their_own():
    """Without `local`, a second run on a machine finds the temporary folder of the first and ends."""
    paths = {"web": ["s3://b/web_0", "s3://b/web_1"], "code": "s3://b/code"}
    options = {"paths": paths, "remote": True, "cache": "/scratch/mds/"}
    text = mixopt.export(PROPOSAL, "mosaicml-streaming", **options)
    streams = yaml.safe_load(text)["train_loader"]["dataset"]["streams"]
    assert streams["code"] == {
        "remote": "s3://b/code",
        "local": "/scratch/mds/code",
        "proportion": 0.2,
    }
    assert len({stream["local"] for stream in streams.values()}) == 3
    assert "cache=FOLDER" not in text
    text = mixopt.export(PROPOSAL, "mosaicml-streaming", paths=paths, remote=True)
    assert "# cache=FOLDER." in text
    with pytest.raises(ExportError, match="'cache' is for remote paths"):
        mixopt.export(PROPOSAL, "mosaicml-streaming", paths="/d/{domain}", cache="/scratch")


@pytest.mark.filterwarnings("ignore")
def test_the_real_library_draws_the_proportions(tmp_path):
    streaming = pytest.importorskip("streaming", reason="mosaicml-streaming is not installed")
    for name in ("web", "code"):
        with streaming.MDSWriter(out=str(tmp_path / name), columns={"domain": "str"}) as writer:
            for _ in range(1000):
                writer.write({"domain": name})
    text = mixopt.export(PROPOSAL, "mosaicml-streaming", paths=str(tmp_path / "{domain}"))
    config = yaml.safe_load(text)["train_loader"]["dataset"]["streams"]
    streams = [streaming.Stream(**stream) for stream in config.values()]
    dataset = streaming.StreamingDataset(streams=streams, epoch_size=500, batch_size=1)
    drawn = [row["domain"] for row in dataset]
    assert drawn.count("web") / len(drawn) == pytest.approx(0.8, abs=0.01)
