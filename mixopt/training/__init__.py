"""Real training of a base, experts and mixtures on transformers' `Trainer`.

`base_model` and `model_loading` open what is trained, `step_law` resolves learning rate and batch size,
`dataset` draws sequences by mixture ratios, `trainer` runs the training with averaged checkpoints,
`checkpointing` resumes it after a stop, `distributed` spreads it over the processes of a launch, and
`training_run` turns one training into an artifact.
"""
