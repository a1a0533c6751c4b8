"""Read trials from the tables of other tools: one row per run, with its mixture and its metrics."""
