"""Train conditional-GAN generators and save them as checkpoints that carry their contract."""
