"""Methods of others that recommend a mixture, under one protocol.

Each is faithful to its source, and pays for training from one budget. `registry` lists them. Nothing
here imports torch: models are trained and scored behind the protocols of `base`.
"""
