"""Turn a bundle into pictures: same seed, same picture."""
