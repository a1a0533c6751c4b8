from plans import PROPOSAL

import mixopt

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
