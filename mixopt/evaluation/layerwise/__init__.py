"""Scoring of merges layer by layer, for models that do not fit into memory.

`meta_model` runs the forward pass around the layers of a model without weights, `activations` keeps or
spills hidden states between layers, and `scorer` sweeps all candidates through the network at once.
"""
