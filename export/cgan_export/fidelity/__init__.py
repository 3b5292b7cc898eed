"""Is it the same model? References, gates, measures, diagnostics, the report."""
