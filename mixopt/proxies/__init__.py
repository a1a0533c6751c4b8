"""The model wing: from text to scores. The only wing where torch lives."""
