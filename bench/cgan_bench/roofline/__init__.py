"""What a machine can do at most, what a generator needs at least, and so the least time."""
