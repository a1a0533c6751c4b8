"""Scores of merges and ensembles of experts on benchmarks.

`tasks` turns benchmark items into token requests and token log-probabilities into item results. `scorer`
runs the requests through a model, packed by `prefix_batching`. `layerwise` does the same for models that
do not fit into memory. `evaluator` scores candidates and caches the results, on all items
(`scored_items`) or a share of them (`item_sampling`); `gradients` differentiates losses by weights.
"""
