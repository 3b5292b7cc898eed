"""What a report says of how far its figures can be relied on: audit, intervals, noise, other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from cgan_runtime.pages import Cell, Table

from cgan_bench.other_load import MAX_OTHERS_PERCENT
from cgan_bench.report_base import figure
from cgan_bench.rounds import Block
from cgan_bench.rows import Row
from cgan_bench.stability import MAX_WIDTH, MOST_TIMES

__all__ = [
    "audit_cell",
    "audit_sentence",
    "audit_table",
    "interval_cell",
    "noise_sentence",
    "noisy_sentence",
    "trust_definitions",
    "unstable_sentence",
]


def interval_cell(row: Row) -> str:
    """Where the median of the ratio lies with 95 %."""
    if row.ratio is None or row.ratio.interval is None or row.verdict == "noisy":
        return "-"
    low, high = row.ratio.interval
    return f"{low:.3f}-{high:.3f}"


def audit_cell(row: Row) -> str | Cell:
    """Whether the row passed its audits."""
    if not row.audits:
        return "-"
    failed = not all(audit.passed for audit in row.audits)
    return Cell(text="failed" if failed else "passed", mark="bad" if failed else "")


def audit_table(block: Block) -> Table:
    """What each audit found of each row."""
    names = _audit_names(block)
    found = [{audit.name: audit for audit in row.audits} for row in block.rows]
    return Table(
        text=True,
        heads=("backend", *names),
        rows=tuple(
            (
                row.title,
                *(
                    Cell(text=mine[name].words, mark="" if mine[name].passed else "bad") if name in mine else "-"
                    for name in names
                ),
            )
            for row, mine in zip(block.rows, found, strict=True)
        ),
    )


def audit_sentence(block: Block) -> str:
    """What was audited, and from which seed; empty where nothing was."""
    if block.sample is None:
        return ""
    passed = sum(all(audit.passed for audit in row.audits) for row in block.rows)
    return (
        f"Audit at batch {block.rows[0].batch}, seed {block.sample.seed} ({', '.join(_audit_names(block))}): "
        f"passed by {passed} of {len(block.rows)}."
    )


def _audit_names(block: Block) -> tuple[str, ...]:
    return tuple(dict.fromkeys(audit.name for row in block.rows for audit in row.audits))


def noise_sentence(block: Block) -> str:
    """What drawing the noise takes: in milliseconds, and as a share of the row where that is largest."""
    rows = [row for row in block.rows if row.noise_ms is not None and any(row.noise_ms)]
    if not rows:
        return ""
    most = max(rows, key=lambda row: row.noise_share or 0)
    drawn_ms = median(value for row in rows for value in row.noise_ms or ())
    percent = 100 * (most.noise_share or 0)
    return (
        f"Noise at batch {most.batch}: {figure(drawn_ms)} ms of each run, at most {percent:.1f} % ({most.title})."
    )


def noisy_sentence(block: Block) -> str:
    """Why a block has no ratios."""
    return (
        f"NOISY: other processes used {block.others_percent:.0f} % of a core at batch {block.rows[0].batch} "
        f"(limit: {MAX_OTHERS_PERCENT:.0f} %), so no ratio is given: measure again when the machine is idle."
    )


def unstable_sentence(rows: Sequence[Row], seconds: float) -> str:
    """Which ratios are not known well enough after the longest time; empty where there are none."""
    named = ", ".join(
        f"{row.title} at batch {row.batch} ({100 * row.ratio.width:.1f} %)"
        for row in rows
        if row.verdict == "unstable" and row.ratio and row.ratio.width is not None
    )
    if not named:
        return ""
    return (
        f"UNSTABLE: after {MOST_TIMES * seconds:g} s per row the 95 % interval of the median ratio is not under "
        f"{100 * MAX_WIDTH:.0f} % of it: {named}; give more --seconds, or an idle machine."
    )


def trust_definitions(rows: Sequence[Row], *, judged: bool) -> Iterator[str]:
    """What these figures mean, for the page.

    Args:
        rows: of the report.
        judged: whether the rounds went on until the ratios were known well enough.
    """
    if any(row.ratio for row in rows):
        rule = (
            f"rounds go on until it is narrower than {100 * MAX_WIDTH:.0f} % of the median, at most {MOST_TIMES} "
            "times as long as --seconds; a row that does not get there is UNSTABLE"
            if judged
            else "not judged, because --rounds was given"
        )
        yield f"95 %: interval of the median of times, by order statistics; {rule}."
        yield (
            f"NOISY: other processes used more than {MAX_OTHERS_PERCENT:.0f} % of one core during the rounds, by "
            "the counters of the kernel; then no ratio is given."
        )
    if any(row.noise_ms for row in rows):
        yield "noise %: share of the latency for drawing the noise from its seeds, by the same code in every row."
    if any(row.cold_start_s is not None for row in rows):
        yield (
            "cold start s: from starting the row's process to its first answer: interpreter, libraries, loading, "
            "compiling; files are mostly in the memory of the system already."
        )
    if any(row.audits for row in rows):
        yield (
            "audit: after the timing some timed rounds, drawn at random, are asked again and must be answered as "
            "they were; these answers and those to fresh seeds must be those of the bundle's FP32 model on ONNX "
            "Runtime in another process (rows whose own tool chose the precision are not held to it); its golden "
            "samples must be those of the bundle; different inputs must get different answers."
        )
