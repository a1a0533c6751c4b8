import ast

from exporters.plans import PROPOSAL

import mixopt


def test_each_domain_is_packed_before_it_is_mixed():
    text = mixopt.export(PROPOSAL, "torchtitan", paths="/d/{domain}/*.jsonl", text_field="body")
    tree = ast.parse(text)
    (mixture,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert mixture.name == "mixture"
    assert "WEIGHTS = {\n    'web': 0.666666667,\n    'code': 0.333333333,\n}" in text
    assert "ConcatThenSplitPackingConfig(\n            dataset=SingleDatasetConfig(" in text
    assert "row['body']" in text
