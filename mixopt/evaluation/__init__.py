"""Scores of merges and ensembles of experts on benchmarks.

`tasks` turns benchmark items into token requests and token log-probabilities into item results. `scorer`
runs the requests through a model, packed by `prefix_batching`. `layerwise` does the same for models that
do not fit into memory. `evaluator` scores candidates and caches the results, `item_sampling` scores a
share of the items, and `gradients` differentiates losses by merge weights.
"""
