"""The executable forms of one graph: FP32, FP16, INT8."""
