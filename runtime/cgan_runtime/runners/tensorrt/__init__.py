"""TensorRT plans on the GPU, for TensorRT and TensorRT-RTX.

In the order of the data: `flavours` loads the library, `fit` says whether a plan suits what is here, `engine` is
the seam to TensorRT, `profiles` chooses the profile of a batch, `buffers` holds the memory, `job` is what one call
asks for, `lane` runs one batch at a time, `runner` is the runner, `backend` its two entries of the table. `stages`
runs and times the copies, the noise and the computation of one batch size, one by one, for benchmarks.
"""
