"""What the YAML files of a study may say: pydantic models, their loader and their cross-checks.

Every model is closed and frozen. The docstring under a field is the field's help: its meaning, unit and
default.
"""
