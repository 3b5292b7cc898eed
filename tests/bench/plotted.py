"""Plots as a reader sees them, and rows to draw."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from xml.etree import ElementTree

import numpy as np
from cgan_bench.fidelity import Agreement
from cgan_bench.plots import fidelity_plot, roofline_plot, throughput_plot
from cgan_bench.plots.frame import marks_of
from cgan_bench.report import Report
from cgan_bench.roofline.floor import Work
from cgan_bench.roofline.processor import Peaks, Processor
from cgan_bench.rounds import Block
from cgan_bench.rows import Row, ratio

from tests.bench.test_report import report, row

RNG = np.random.default_rng(3)
EAGER_MS, OURS_MS, INT8_MS = (tuple(RNG.uniform(0.9, 1.1, 30) * ms) for ms in (100.0, 40.0, 25.0))
IMAGE = Agreement(output="picture", kind="image", psnr_db=137.2, limit=60.0)
WORK = Work(flops=20_000_000_000, weight_bytes=200_000_000, value_bytes=50_000_000, element_bytes=2)
PEAKS = Peaks(gops={"fp32": 200.0, "bf16": 205.0, "int8": 900.0}, gb_s=50.0)


@dataclass(frozen=True)
class Drawn:
    """A plot as a reader sees it: a value is read off the ticks beside it."""

    figure: ElementTree.Element
    log_x: bool = False
    log_y: bool = False

    @property
    def svg(self) -> ElementTree.Element:
        found = self.figure.find("svg")
        assert found is not None
        return found

    @property
    def words(self) -> str:
        return self.svg.attrib["aria-label"]

    def lines(self, kind: str) -> list[tuple[float, float, float, float]]:
        """x1, y1, x2, y2 of each."""
        found = [one for one in self.svg.iter("line") if one.attrib["class"].split()[0] == kind]
        return [tuple(float(one.attrib[name]) for name in ("x1", "y1", "x2", "y2")) for one in found]  # type: ignore[misc]  # four

    def ticks(self, axis: str) -> dict[str, float]:
        """Place by the text that follows its line."""
        pairs = itertools.pairwise(self.svg)
        followed = [(a, b) for a, b in pairs if a.attrib.get("class") == "rule" and b.tag == "text"]
        vertical = [(a, b) for a, b in followed if (a.attrib["x1"] == a.attrib["x2"]) is (axis == "x")]
        return {b.text or "": float(a.attrib[f"{axis}1"]) for a, b in vertical}

    def value(self, axis: str, place: float) -> float:
        """What lies at a place, by the first and the last tick."""
        log = self.log_x if axis == "x" else self.log_y
        places = {_number(text): at for text, at in self.ticks(axis).items() if text != "equal"}
        (low, first), (high, last) = min(places.items()), max(places.items())
        share = (place - first) / (last - first)
        return low * (high / low) ** share if log else low + share * (high - low)

    def points(self) -> dict[str, tuple[float, float]]:
        """x and y by the words of each mark."""
        found = {}
        for one in self.svg.iter("path"):
            x, y = map(float, re.findall(r"[\d.]+", one.attrib["transform"]))
            found[one.findtext("title") or ""] = (x, y)
        return found

    def point(self, start: str) -> tuple[float, float]:
        """The values at the mark whose words begin so."""
        ((x, y),) = (place for words, place in self.points().items() if words.startswith(start))
        return self.value("x", x), self.value("y", y)


def _number(text: str) -> float:
    factor = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1])
    return float(text[:-1]) * factor if factor else float(text)


def drawn(plot: str, *, log_x: bool = False, log_y: bool = False) -> Drawn:
    return Drawn(ElementTree.fromstring(str(plot)), log_x=log_x, log_y=log_y)


def measured(
    title: str, latencies_ms: tuple[float, ...], *, batch: int = 1, psnr_db: float | None = None, limit: float = 60
) -> Row:
    reference_ms = tuple(batch * np.asarray(EAGER_MS))
    return replace(
        row(title, latencies_ms, None if psnr_db is None else ratio(reference_ms, latencies_ms)),
        batch=batch,
        precision="int8" if limit == 35 else "fp32",
        agreements=() if psnr_db is None else (replace(IMAGE, psnr_db=psnr_db, limit=limit),),
    )


THREE = (
    measured("eager", EAGER_MS),
    measured("ours", OURS_MS, psnr_db=137.2),
    measured("ours, INT8", INT8_MS, psnr_db=38.5, limit=35),
)


def inference(*blocks: tuple[Row, ...], processor: Processor | None = None) -> Report:
    return replace(
        report(),
        blocks=tuple(Block(rows=rows, absent=(), contract=None) for rows in blocks),
        processor=processor or Processor(peaks=PEAKS, work=WORK),
    )


def fidelity_of(of: Report) -> str:
    return fidelity_plot(of.fidelity(of.blocks[0]), marks_of(one.title for one in of.rows))


def roofline_of(of: Report) -> str:
    return roofline_plot(of.roofline(of.blocks[0]), marks_of(one.title for one in of.rows))


def throughput_of(of: Report) -> str:
    return throughput_plot(of.throughput(), marks_of(one.title for one in of.rows))
