"""MLflow logging: an experiment per study, a parent run per command, child runs per trained model.

Only this package imports MLflow, and only the process that runs the study logs. Records are written to a
queue on disk first, so a server that is slow or down delays and loses nothing.
"""
