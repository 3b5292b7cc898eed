"""Tests of the ONNX Runtime backend."""
