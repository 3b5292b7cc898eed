"""Makes docs/checkpoints.md: every reader run on a generated file of its source's layout.

    python -m docs.make_checkpoints

The files and the plain forward passes are those of tests/export/sources, which share no code with the readers.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from cgan_trainer.readers import Choices, read_generator

from tests.export.sources.files import FILES
from tests.export.test_readers import inputs_of

HEAD = """# Checkpoints from other code

`cgan-export FILE` takes the files in this table as they are. Architecture, channels, depth and norm come from the
keys and shapes alone. What a file cannot say has the source's own default; cgan-export prints it on stderr as
`assumed`, the bundle records it (`provenance.assumed`), and a flag changes it:

| flag | what it says |
|---|---|
| `--direction AtoB`, `BtoA`, `--source`, `--target` | names of the sides; picks `G_A` or `G_B` |
| `--graph NAME` | picks one of several generators in the file |
| `--palette FILE` | the net takes label maps, one channel for each colour of the file |
| `--conditions FOLDER` | images to check on; without them, and for the pictures of the card, images are made up |
| `--size N` or `WIDTHxHEIGHT` | size of the condition; a U-Net of n levels takes multiples of 2^n |
| `--dropout`, `--no-dropout` | dropout live, or one image per condition |
| `--statistics per_sample` or `running` | what batch norm goes by |
| `--eps`, `--variant eps-1e-5` | eps of the norms; PyTorch-GAN wrote 0.8 where it meant the momentum |
| `--variant affine-norm` | norms with weights beside biased convolutions are instance norm |
| `--rounding`, `--filter` | how values become pixels, how images are resized |

A checkpoint of cgan-train says all of this itself. It may hold several graphs, such as AtoB and BtoA: the first is
exported, the others are named at the end, and `--graph NAME` chooses one.

Containers: PyTorch's zip and its older format, `.safetensors`, `.npz`. A `.gz`, `.tar`, `.tar.gz` or `.zip` is
opened in memory where there is one checkpoint in it. A folder stands for the only generator in it, such as
`latest_net_G.pth` beside `latest_net_D.pth`.

The generator is found by its keys, whatever a script called it and however deep it lies: `{"netG": ...}`,
`{"state_dict": {"model.net_G_A.model.1.weight": ...}}`, a list. Taken off: `module.` of DataParallel,
`_orig_mod.` of torch.compile, spectral norm and weight norm (folded). Names count only between several
generators: averaged weights (`g_ema`, `params_ema`) come before the same net's own; `--direction` picks one of
`G_A` and `G_B`, `G_AB` and `G_BA`, `genA2B` and `genB2A` and their like; `--graph NAME` picks any. Names such as
`G` and `F` say no direction.

A net of 1 or 3 channels takes or makes images. Other numbers of channels are a tensor `[channels, height,
width]`, as numpy.save writes it, with the values that the net was trained on; the commands printed at the end use
a golden file of the bundle, which shows the form. Where each channel is a class, `--palette FILE` makes the
condition a picture: the file has a colour on each line, `#RRGGBB` or `R,G,B`, in the order of the channels.

Nothing in a file is ever run: pickles go through a machine that can call nothing. A file that cannot be used is
refused within 5 seconds of CPU time, whatever is in it: of up to 1 GiB, and of up to 256 MiB where it is
compressed (`.gz`, a packed `.zip`, `savez_compressed`), which takes up to 9 seconds for each GiB. It takes 1 GiB
more memory than the file has; where that is a `.safetensors` or an archive, than twice as much, and where it is a
`.safetensors` in an archive, than three times; weights that are folded count once more, in FP32.
`python -m tests.hostile_files` measures that on small files that would take for ever or fill the memory.

Fidelity: largest difference from a plain forward pass of the source's layout, noise given, output range -1..1.

| source | file | inferred | assumed | fidelity |
|---|---|---|---|---|
"""
TAIL = """
Refused, with the reason and the way out: TorchScript archives, pickled modules, the tar format before PyTorch
0.4, states of optimisers, discriminators, encoders without their decoder, truncated downloads, weights that are
NaN, infinite or beyond 1e6, and unknown keys (the nearest layout and the first three differences are named);
files of other programs by what they are: ONNX, Keras and HDF5, TensorFlow, TensorFlow Lite, Lua Torch, TensorRT,
diffusers. A flipped bit inside a weight cannot be noticed in these formats: compare the file's SHA-256, which the
bundle records.

## TensorFlow

Of TensorFlow, the generator of pix2pix-tensorflow is read, as an `.npz` of its variables. Where TensorFlow is
installed, with `facades_train` the folder that has the file `checkpoint`:

    import numpy as np
    import tensorflow as tf

    saved = tf.train.load_checkpoint("facades_train")
    names = [name for name in saved.get_variable_to_shape_map() if name.startswith("generator/")]
    np.savez("facades.npz", **{name: saved.get_tensor(name) for name in names})

Other nets of Keras or TensorFlow have no reader: [extending.md](extending.md#a-reader) shows how to write one.

Made by `python -m docs.make_checkpoints`; `python -m tests.fuzz checkpoints --count 10000` damages them all.
"""


def row(kind: str, folder: Path) -> str:
    """One line of the table.

    Raises:
        SystemExit: the generator is not what the source computes.
    """
    made = FILES[kind]()
    path = folder / made.name
    path.write_bytes(made.data)
    plain, loaded = read_generator(path), read_generator(path, Choices(size=made.size))
    inputs = inputs_of(loaded)
    with torch.no_grad():
        error = float((loaded.generator(*inputs)[0] - made.forward(*inputs)).abs().max())
    if not error < 1e-4:
        raise SystemExit(f"{kind} differs by {error:.3g}")
    inferred = ", ".join(plain.inferred)
    assumed = "; ".join(words.partition(" (")[0] for words in plain.assumed)
    return f"| {made.title} | `{made.name}` | {inferred} | {assumed} | {_bound(error)} |\n"


def _bound(error: float) -> str:
    """The error's power of ten: what stays the same from machine to machine."""
    return next((f"< 1e-{digits}" for digits in (7, 6, 5) if error < 10**-digits), "< 1e-4")


def main() -> None:
    """Write the table beside this script."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(kind, Path(folder)) for kind in FILES]
    target = Path(__file__).with_name("checkpoints.md")
    target.write_text(HEAD + "".join(rows) + TAIL, encoding="utf-8")
    sys.stdout.write(f"wrote {target.name}\n")


if __name__ == "__main__":
    main()
