"""Following a run while it goes on: a results page, and events for TensorBoard."""
