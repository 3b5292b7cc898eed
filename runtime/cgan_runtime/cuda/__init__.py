"""The little of CUDA that is needed to run an engine and to draw noise on the device, behind one protocol."""
