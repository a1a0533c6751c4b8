from plans import PATHS, PROPOSAL

import mixopt

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
dataset:
  blend:
  - - /d/web_text_document
    - /d/code_text_document
  - - 0.666666667
    - 0.333333333
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "megatron-bridge", paths=PATHS) == GOLDEN
