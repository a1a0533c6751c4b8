"""The `mixopt` command: one module per verb, imported when the verb is called.

A verb parses its options and calls the functions that Python users call. Modules import only click at
their top, so that `mixopt --help` is fast and works without any extra.
"""
