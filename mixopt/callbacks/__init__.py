"""Callbacks: progress of a study for the terminal, MLflow, or a user's own code."""
