"""Surrogate models: scores of many metrics as functions of the mixture, with standard deviations.

`fit` standardizes the scores of trials, fits several models of `registry`, stacks them by
cross-validation (`stacking`), calibrates their intervals (`calibration`), and corrects cheap
fidelities by expensive ones (`multi_fidelity`). `surrogate.Surrogate` is the result.
"""
