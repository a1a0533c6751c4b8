"""Vega-Lite charts of the report, of `mixopt.plots` and of MLflow's pictures, one module each."""
