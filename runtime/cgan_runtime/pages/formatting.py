"""Numbers and times as people write them."""

from __future__ import annotations

import math

__all__ = ["readable", "readable_time", "short"]


def readable(value: float) -> str:
    """Four significant digits, whole numbers with all of theirs: 0.1596, 14.13, 49,000; ∞ for infinity."""
    if not math.isfinite(value):
        return str(value).replace("inf", "∞")
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3e}"
    return f"{value:.4g}"


def short(value: float) -> str:
    """A number for an axis: 500, 1.5k, 20M, 0.05."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < size * 1000:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def readable_time(seconds: float) -> str:
    """Two units while the larger is below ten: 45 s, 3 min 59 s, 42 min, 1 h 5 min, 12 h."""
    if not math.isfinite(seconds):
        return str(seconds)
    whole = round(max(seconds, 0))
    for unit, size, smaller, smaller_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= 10 * size:
            return f"{round(whole / size)} {unit}"
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"
