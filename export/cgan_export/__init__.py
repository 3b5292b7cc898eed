"""Turn a checkpoint into a verified bundle."""
