"""The folder that travels: written, verified again, compared with another."""
