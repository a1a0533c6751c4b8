"""Executors: where the jobs of a study run. `base.open_executor` opens the one that a config names."""
