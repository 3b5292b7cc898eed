"""The commands that run a bundle, as its contract needs them: printed after an export and kept in its card."""

from __future__ import annotations

import shlex

from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding

__all__ = ["next_commands", "run_command"]


def next_commands(contract: Contract, bundle: str) -> tuple[str, ...]:
    """Run it, serve it, time it, verify it. `bundle` is the folder as the user would type it."""
    folder = shlex.quote(bundle)
    return (
        run_command(contract, bundle),
        f"cgan-serve {folder}",
        f"cgan-bench {folder} --batch 1",
        f"cgan-export verify {folder}",
    )


def run_command(contract: Contract, bundle: str) -> str:
    """One image in: cgan-translate. Anything else: cgan-generate with a value for every condition."""
    folder = shlex.quote(bundle)
    match contract.conditions:
        case (Condition(encoding=ImageEncoding()),):
            return f"cgan-translate IMAGE --bundle {folder} --seed 7"
        case (Condition(encoding=LabelEncoding(names=names)),):
            return f"cgan-generate --bundle {folder} --label {shlex.quote(names[0]) if names else 0} --samples 16"
        case conditions:
            given = "".join(f" --set {c.name}={_placeholder(c, bundle)}" for c in conditions)
            return f"cgan-generate --bundle {folder}{given} --samples 16"


def _placeholder(condition: Condition, bundle: str) -> str:
    """What stands for a value; for a tensor a file that is there: the first golden sample's."""
    match condition.encoding:
        case ImageEncoding():
            return "IMAGE"
        case LabelEncoding(names=names):
            return shlex.quote(names[0]) if names else "0"
        case _:
            return shlex.quote(f"{bundle}/golden/0-{condition.name}.npy")
