"""What `tests/run.py` is made of: the groups of tests, the worlds they run in, and the report."""
