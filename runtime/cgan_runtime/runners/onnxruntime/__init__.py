"""ONNX Runtime: the backend every bundle runs on, with no GPU and no torch.

In the order of a call: `module.py` imports the package, `devices.py` reads the word for the device, `libraries.py`
finds what a GPU's provider needs, `providers.py` has the options of each provider, `gpu_session.py` starts it,
`runner.py` executes, and on a GPU `bound.py` keeps the memory of each shape there.
"""

from cgan_runtime.runners.onnxruntime.devices import gpu_absence
from cgan_runtime.runners.onnxruntime.module import absence, import_onnxruntime
from cgan_runtime.runners.onnxruntime.runner import OnnxRuntimeRunner, open_runner

__all__ = ["OnnxRuntimeRunner", "absence", "gpu_absence", "import_onnxruntime", "open_runner"]
