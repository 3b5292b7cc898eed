"""`python -m cgan_export` is cgan-export."""

from cgan_export.cli import main

main()
