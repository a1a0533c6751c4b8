"""The stages of a study: experts, search, propose, validate, exports; phases and status.

Each stage is a function of a `StudyContext`. It names its artifacts before it builds them, so that
`status` can walk the same stages over a read-only store.
"""
