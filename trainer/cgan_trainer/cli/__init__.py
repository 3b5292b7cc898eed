"""The commands cgan-data and cgan-train."""
