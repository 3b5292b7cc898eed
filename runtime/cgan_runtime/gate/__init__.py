"""The gate: the public HTTP and gRPC ports in front of Triton. `python -m cgan_runtime.gate` is its process."""
