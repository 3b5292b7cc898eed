"""`python -m cgan_trainer` is cgan-train."""

from cgan_trainer.cli.train import main

main()
