"""The gateway: public ports in front of Triton; `python -m cgan_runtime.gateway` is its process."""
