"""Inference on a GPU: stages by events, the roofline of the card, and how near each row comes to it."""
