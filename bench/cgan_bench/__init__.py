"""Measure runners side by side."""
