"""Benchmark kinds, one module each, under the protocols of `base`.

`registry` names the task class of each kind that a config may name. `choice` holds the base of kinds
that compare several texts, `continuation` that of kinds that score one text; `items` reads and checks
item files, and `prompt` writes prompts from templates and solved examples.
"""
