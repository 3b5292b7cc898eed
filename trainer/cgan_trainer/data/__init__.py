"""Datasets: how users' folders are read, and how the real ones are made."""
