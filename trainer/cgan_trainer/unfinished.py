"""How a checkpoint says that its run had not reached its end: two plain values of its provenance, and the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

__all__ = ["REASONS", "StoppedBy", "mark", "unfinished"]

StoppedBy = Literal["time limit", "interruption"]
REASONS: Final[Mapping[str, str]] = {"time limit": "stopped by its time limit", "interruption": "interrupted"}


def mark(images: int, planned: int, stopped_by: StoppedBy | None = None) -> dict[str, Any]:
    """What provenance says beside "images": nothing where all were seen.

    Args:
        images: seen so far.
        planned: of the whole run.
        stopped_by: why the run ended here; None: it goes on, or ends without a word.
    """
    if images >= planned:
        return {}
    return {"planned_images": planned, **({"stopped_by": stopped_by} if stopped_by else {})}


def unfinished(provenance: Mapping[str, Any]) -> str:
    """A sentence for the user; empty where they have seen all, or an older version did not say."""
    images, planned = provenance.get("images"), provenance.get("planned_images")
    if not isinstance(images, int) or not isinstance(planned, int):
        return ""
    why = REASONS.get(str(provenance.get("stopped_by")))
    said = f"; the run was {why}" if why else ""
    return f"These weights have seen {images:,} of the {planned:,} images planned{said}."
