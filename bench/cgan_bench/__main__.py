"""`python -m cgan_bench` is cgan-bench."""

from cgan_bench.cli import main

main()
