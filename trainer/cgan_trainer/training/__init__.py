"""The training loop: counted in images, seeded by image, resumable to the bit."""
