import pytest
from plans import PROPOSAL

import mixopt
from mixopt.errors import ExportError

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
train-data:
- /d/web/{0..9}.tar
- /d/code/{0..9}.tar
train-data-mix-weights:
- 0.666666667
- 0.333333333
dataset-resampled: true
"""


def test_golden():
    paths = {"web": "/d/web/{0..9}.tar", "code": "/d/code/{0..9}.tar"}
    assert mixopt.export(PROPOSAL, "open-lm", paths=paths) == GOLDEN


def test_globs_are_told_to_be_braces():
    with pytest.raises(ExportError, match=r"open_lm expands no globs.*by braces"):
        mixopt.export(PROPOSAL, "open-lm", paths="/d/{domain}/*.tar")
    mixopt.export(PROPOSAL, "open-lm", paths="pipe:aws s3 cp s3://b/{domain}/? -")
