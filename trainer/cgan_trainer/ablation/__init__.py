"""The papers' comparisons, run again on the user's own images."""
