"""From a generator to the graph of its pure function: statistics, sizes, ONNX, rewrites."""
