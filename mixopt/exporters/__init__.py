"""Exporters write a proposal as the data config of a trainer, and read such a config back.

One module per trainer defines an `ExportFormat`; `export.FORMATS` lists them by name.
"""
