"""TensorRT engines: plans built from a bundle's ONNX files, by TensorRT or by TensorRT-RTX."""
