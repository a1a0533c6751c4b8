"""What carries a study: the journal, and those who watch."""
