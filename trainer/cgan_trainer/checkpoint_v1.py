"""Checkpoints of version 1: one pix2pix generator, as the newest version writes it.

{"family", "options", "contract", "generator": {name: tensor}, "examples": uint8 [N, C, H, W] or None,
"provenance", "training": only in last.pt}
"""

from __future__ import annotations

from typing import Any

__all__ = ["from_version_1"]


def from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """The same content with the keys of version 2.

    Raises:
        KeyError, TypeError: it is not the content of version 1.
    """
    graph = {"options": content["options"], "contract": content["contract"], "state": content["generator"]}
    examples = content["examples"]
    newer: dict[str, Any] = {
        "family": content["family"],
        "graphs": {"main": graph},
        "examples": {} if examples is None else {"main": {"condition": examples}},
        "provenance": content["provenance"],
    }
    if "training" in content:
        newer["training"] = _training(content["training"], content["generator"])
    return newer


def _training(before: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """A run goes on exactly as it would have: the same weights, moments, older images and counters.

    The oldest runs have no "plateau": they drew their noise otherwise, and stay without "networks".
    """
    if "plateau" not in before:
        return {"config": before.get("config", {})}
    kept = ("config", "dataset", "total", "ranks", "threads", "plateau")
    counted = before["counters"]
    value = counted["val_l1"]
    counters = {
        "images": counted["images"],
        "seconds": counted["seconds"],
        "best": counted["best_val_l1"],
        "validation": {} if value is None else {"val_L1": value},
        "sums": {
            "images": counted["summed_images"],
            "steps": counted["summed_steps"],
            "losses": {name: [total, counted["summed_images"]] for name, total in counted["sums"].items()},
            "data_seconds": counted["data_seconds"],
            "step_seconds": counted["step_seconds"],
        },
    }
    networks = {"generator": before.get("newest_generator", saved)}
    optimizers = {"G": before["optimizer_g"]}
    if "discriminator" in before:
        networks["discriminator"] = before["discriminator"]
        optimizers["D"] = before["optimizer_d"]
    return {
        **{name: before[name] for name in kept},
        "counters": counters,
        "networks": networks,
        "averages": {"generator": saved} if "newest_generator" in before else {},
        "optimizers": optimizers,
        "pools": {"fakes": before.get("history", [])},
        "steps": before["steps"],
        "stage": "train",
        "extra": {},
    }
