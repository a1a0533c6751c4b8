"""The HTML report, its figures, and the same figures for notebooks."""
