"""Weighted merges of experts: Θ_base + Σ_k α_k (Θ_k − Θ_base), in memory and on disk.

`checkpoint` reads tensors of a model folder by name, `expert` gives the delta of full or LoRA experts,
`merge` maps mixture ratios to merge weights and merges in memory, `to_disk` writes a merged model
folder, and `ensemble` mixes token probabilities instead of weights.
"""
