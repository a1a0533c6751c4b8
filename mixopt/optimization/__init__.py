"""Optimization over mixtures: what to run next, what to propose, and how sure that is.

`optimize` proposes mixtures by a surrogate with the searches of `multistart`, `design` chooses runs,
`learning_curve` estimates what more runs give, and `proxy_validation` measures how well proxies rank
mixtures that were really trained. All of them search the `weight_space` of a `SearchSpace`.
"""
