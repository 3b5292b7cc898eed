"""Damaged and hostile files by the thousand, and processes that are killed at any instant."""
