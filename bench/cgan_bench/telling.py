"""What a command ends with: tables or a JSON object, files, and the exit code; of one report, or of CPU and GPU."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgan_runtime.atomic import write_atomic
from cgan_runtime.errors import CganError, CheckFailedError, UsageError

from cgan_bench.page import write_report
from cgan_bench.printing import print_comparison, print_report
from cgan_bench.rows_csv import rows_csv

if TYPE_CHECKING:
    from cgan_bench.comparison import Comparison, Earlier
    from cgan_bench.measuring import AnyReport

__all__ = ["Output", "as_object", "conclude", "finish", "gpu_page", "tell"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a result goes.

    Attributes:
        as_json: print the JSON object instead of the tables.
        out: also write that object here.
        csv: also write a line for each row here.
        html: also write a page here; a second report has its own beside it, see `gpu_page`.
    """

    as_json: bool = False
    out: Path | None = None
    csv: Path | None = None
    html: Path | None = None


def finish(reports: Sequence[AnyReport], earlier: Earlier | None, output: Output) -> None:
    """Tell and write everything that was measured, then conclude.

    Args:
        reports: one, or that of the CPU and that of the GPU.
        earlier: what the first is compared with, where it measured something.
        output: where it goes.

    Raises:
        CheckFailedError, CganError: see `conclude`; or a row is not as fast as was asked for.
        UsageError: the earlier result has no row to compare with.
    """
    comparison, refusal = None, None
    if earlier is not None and not reports[0].failure:
        try:
            comparison = earlier.beside(reports[0].to_json())
        except UsageError as error:  # told after what was measured
            refusal = error
    tell(reports, output, comparison)
    conclude(reports)
    if refusal is not None:
        raise refusal
    if comparison is not None and comparison.complaint:
        raise CheckFailedError(comparison.complaint)


def tell(reports: Sequence[AnyReport], output: Output, comparison: Comparison | None = None) -> None:
    """Print the reports and what became of the earlier result, and write what was asked for."""
    result = as_object(reports)
    if comparison is not None:
        result["comparison"] = comparison.to_json()
    text = json.dumps(result, allow_nan=False)
    if output.as_json:
        print(text)  # noqa: T201 - it is the result
    else:
        for report in reports:
            print_report(report)
        if comparison is not None:
            print_comparison(comparison)
    if output.out is not None:
        write_atomic(output.out, text + "\n")
    if output.csv is not None:
        write_atomic(output.csv, rows_csv([row.to_json() for report in reports for row in report.rows]))
    if output.html is not None:
        pages = ((output.html, comparison), (gpu_page(output.html), None))
        for (path, beside), report in zip(pages, reports, strict=False):
            write_report(path, report, beside)


def conclude(reports: Sequence[AnyReport]) -> None:
    """The exit code: nothing measured, or failed requests, is 1; wrong or too uncertain results are 5.

    Raises:
        CheckFailedError: a row is invalid, or the ratio of one is not known well enough.
        CganError: no row is invalid, and the command failed all the same.
    """
    for report in reports:
        if report.invalid:
            raise CheckFailedError(report.complaint)
    if reports[0].failure:
        raise CganError(reports[0].failure)
    for report in reports:
        if report.uncertain:
            raise CheckFailedError(report.uncertain)


def as_object(reports: Sequence[AnyReport]) -> dict[str, Any]:
    """The first report as plain values; a second one stands in it as "on_gpu"."""
    first, *more = (report.to_json() for report in reports)
    return {**first, "on_gpu": more[0], "valid": first["valid"] and more[0]["valid"]} if more else first


def gpu_page(html: Path) -> Path:
    """Where the page of a second report stands: bench.html has bench-gpu.html beside it."""
    return html.with_name(f"{html.stem}-gpu{html.suffix}")
