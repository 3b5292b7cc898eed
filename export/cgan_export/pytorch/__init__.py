"""PyTorch as a runner: the reference on the CPU, and the ways in which it runs on a GPU."""
