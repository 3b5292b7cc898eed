"""Serving on the real Triton: its environment, the model repository, the models, the launcher."""
