"""The plots of a page: one file each, with its template beside; each is one figure of inline SVG and its legend."""

from __future__ import annotations

from cgan_bench.plots.fidelity import fidelity_plot
from cgan_bench.plots.roofline import roofline_plot
from cgan_bench.plots.spread import spread_plot
from cgan_bench.plots.throughput import throughput_plot

__all__ = ["fidelity_plot", "roofline_plot", "spread_plot", "throughput_plot"]
