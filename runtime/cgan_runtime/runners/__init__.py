"""Runners: one file per backend, one interface."""

from cgan_runtime.runners.base import Array, Runner, Tensors

__all__ = ["Array", "Runner", "Tensors"]
