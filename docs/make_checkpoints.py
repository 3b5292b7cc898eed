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
| `--direction AtoB`, `BtoA`, `--source`, `--target` | names of the sides; picks one of two generators |
| `--size N` or `WIDTHxHEIGHT` | size of the condition; a U-Net of n levels takes multiples of 2^n |
| `--dropout`, `--no-dropout` | dropout live, or one image per condition |
| `--statistics per_sample` or `running` | what batch norm goes by |
| `--eps`, `--variant eps-1e-5` | eps of the norms; PyTorch-GAN wrote 0.8 where it meant the momentum |
| `--variant affine-norm` | norms with weights beside biased convolutions are instance norm |
| `--rounding`, `--filter` | how values become pixels, how images are resized |

A checkpoint of cgan-train says all of this itself. It may hold several graphs, such as AtoB and BtoA: the first is
exported, the others are named at the end, and `--graph NAME` chooses one.

Containers: PyTorch's zip and its older format, `.safetensors`, `.npz`. Taken off: `module.`, `_orig_mod.`, nests
such as `state_dict`, `netG`, `generator`, `g_ema` and `params_ema` (averaged weights are preferred, and named),
spectral norm and weight norm (folded). Nothing in a file is ever run: pickles go through a machine that can call
nothing.

Fidelity: largest difference from a plain forward pass of the source's layout, noise given, output range -1..1.

| source | file | inferred | assumed | fidelity |
|---|---|---|---|---|
"""
TAIL = """
Refused, with the reason and the way out: TorchScript archives, pickled modules, the tar format before PyTorch 0.4,
states of optimisers, discriminators, encoders without their decoder, truncated downloads, weights that are NaN,
infinite or beyond 1e6, and unknown keys (the nearest layout and the first three differences are named). A flipped
bit inside a weight cannot be noticed in these formats: compare the file's SHA-256, which the bundle records.

Made by `python -m docs.make_checkpoints`; `python -m tests.fuzz_readers --count 10000` damages every kind of file.
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
