"""Makes docs/performance.md from docs/performance.json, and the sentence that the README has of it.

python -m docs.make_performance
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["PAGE", "RESULT", "claim", "page"]

RESULT: Final = Path(__file__).with_name("performance.json")
PAGE: Final = RESULT.with_name("performance.md")
OURS: Final = ("ort_bundle", "openvino_bundle")
PLAIN: Final = "ort_plain"
ASKED_FOR: Final = {
    "ort_bundle": "FP32 on ONNX Runtime",
    "ort_bundle_int8": "INT8 on ONNX Runtime",
    "openvino_bundle": "FP32 on OpenVINO",
    "openvino_bundle_bf16": "BF16 on OpenVINO",
    "openvino_bundle_int8": "INT8 on OpenVINO",
}
NETS: Final = {"unet-256": "U-Net-256 of pix2pix, 54.4 M parameters", "resnet-9": "ResNet-9 of CycleGAN, 256 px"}
# Cell -> what a row of it has to hold, the goal of the ratio to the plain export at batch 1.
CELLS: Final = {"FP32": (60.0, 1.2), "45 dB or more": (45.0, 3.5), "35 dB or more": (35.0, 4.5)}
NOT_SLOWER: Final = 0.97
INVALID: Final = """INVALID: an image of the run was below the floor of its precision (35 dB in INT8), though those
of the export kept it; no cell and no claim rests on the row.
"""
# Busy processes -> the fair share of two cores for a program of two threads; how far from it is too far.
FAIR: Final = {"1": 2 / 3, "2": 0.5}
UNFAIR: Final = 1.5

HEAD: Final = """# Speed on a CPU

Made by `python -m docs.make_performance` from [performance.json](performance.json), which
`python -m docs.measure_performance` measures (about an hour on an idle machine). No figure is typed by hand.

{machine}. {versions}. Measured on {date}.

Random weights, per-sample statistics, seeded masks; noise is inside the time. Every row has a process of its own
and they take turns (`cgan-bench BUNDLE --checkpoint FILE --peers`, [how](../bench/README.md#method)). `times` is
the latency of ONNX Runtime on the plain `torch.onnx` export / the row's, round by round: median and 95 % interval.
PSNR is that of the worst checked image to PyTorch. A row of other people's tools below 35 dB is not compared with.
"""


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    where, versions = document["environment"], document["versions"]
    parts = [
        HEAD.format(
            machine=f"{where['cpu']}, {where['cores']} cores",
            versions=", ".join(f"{name} {version}" for name, version in versions.items() if version),
            date=document["date"],
        )
    ]
    for net, found in document["nets"].items():
        parts.append(f"## {NETS[net]}\n{_refused(found)}")
        parts.extend(_block(report) for report in found["reports"])
        parts.append(_cells(found["reports"]))
    parts += [_samples(document["samples"]), *_rewrites(document["rewrites"])]
    parts += [_first_image(document["first_image_s"]), _busy(document["busy"])]
    return "\n".join(parts)


def claim(document: dict[str, Any]) -> str:
    """What the README says."""
    report = document["nets"]["unet-256"]["reports"][0]
    rows = {row["backend"]: row for row in report["rows"]}
    told = [
        f"{rows[key]['times'][PLAIN]['median']:.2f} times in {title}"
        for key, title in (
            ("ort_bundle", "FP32 on ONNX Runtime"),
            ("openvino_bundle", "FP32 on OpenVINO"),
            ("openvino_bundle_bf16", "BF16 on OpenVINO"),
        )
        if key in rows and rows[key]["valid"]
    ]
    many = document["samples"]["model.onnx"]["share"]["median"]
    return (
        f"A U-Net-256 at batch 1, how many times as fast as ONNX Runtime on the plain export: {', '.join(told)}. "
        f"Sixteen samples of one image take {many:.2f} of the time of sixteen runs "
        "([all figures](docs/performance.md))."
    )


def _refused(found: dict[str, Any]) -> str:
    """The artifacts that were asked for and have no row, because the export refused them."""
    there = {row["backend"] for report in found["reports"] for row in report["rows"]}
    absent = [title for key, title in ASKED_FOR.items() if key not in there]
    return f"\nNot there, because its gates refused it at the export: {', '.join(absent)}.\n" if absent else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = (0,)) -> str:
    """A table of figures, to the right, and of words, whose columns are given by number, to the left."""
    lines = [heads, ["---" if column in words else "---:" for column in range(len(heads))], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _ratio(ratio: dict[str, Any]) -> str:
    if ratio["low_95"] is None:
        return f"{ratio['median']:.2f}"
    return f"{ratio['median']:.2f} ({ratio['low_95']:.2f}-{ratio['high_95']:.2f})"


def _block(report: dict[str, Any]) -> str:
    first = report["rows"][0]
    rows = []
    for row in report["rows"]:
        remarks = [] if row["valid"] else ["INVALID"]
        remarks += [] if row["comparable"] else ["not comparable"]
        remarks += [row["verdict"].upper()] if row["verdict"] in ("unstable", "noisy") else []
        share = row["share_of_peak"]
        rows.append(
            (
                row["title"] + (f" ({', '.join(remarks)})" if remarks else ""),
                f"{row['p50_ms']:.1f}",
                _ratio(row["times"][PLAIN]),
                "reference" if row is first else f"{row['psnr_db']:.1f}",
                "-" if share is None else f"{100 * share:.0f} %",
                f"{row['peak_memory_mb']:.0f}",
                f"{row['cold_start_s']:.1f}",
            )
        )
    heads = ("", "p50 ms", "times", "PSNR dB", "of the peak", "peak MB", "cold start s")
    absent = "".join(f"Not measured: {one['title']}: {one['reason']}.\n" for one in report["absent"])
    title = f"### Batch {first['batch']}, {first['rounds']} rounds\n\n"
    remark = "" if all(row["valid"] for row in report["rows"]) else f"\n{INVALID}"
    return title + _table(heads, rows) + remark + (f"\n{absent}" if absent else "")


def _cells(reports: Sequence[dict[str, Any]]) -> str:
    """Our fastest row of each cell beside the fastest of the others that holds the same floor."""
    lines = []
    for report in reports:
        for cell, (floor_db, goal) in CELLS.items():
            rows = [row for row in report["rows"] if row["valid"] and row["comparable"]]
            rows = [row for row in rows if row["psnr_db"] is None or row["psnr_db"] >= floor_db]
            if cell == "FP32":
                rows = [row for row in rows if row["precision"] == "fp32"]
            ours = min((r for r in rows if r["backend"].startswith(OURS)), key=lambda r: r["p50_ms"], default=None)
            others = [row for row in rows if not row["backend"].startswith(OURS)]
            if ours is None:
                continue
            other = min(others, key=lambda row: row["p50_ms"])
            beside, plain = ours["times"][other["backend"]], ours["times"][PLAIN]["median"]
            holds = "yes" if (beside["low_95"] or beside["median"]) >= NOT_SLOWER else "no"
            wanted = f"{goal:.1f}" if ours["batch"] == 1 else "-"
            lines.append(
                (
                    f"{ours['batch']}, {cell}",
                    *(ours["title"], f"{plain:.2f}", wanted, other["title"], _ratio(beside), holds),
                )
            )
    heads = ("batch, cell", "our fastest", "times plain", "goal", "fastest other", "ours / other", "not slower")
    return f"""### Beside the others

Our fastest row of each cell, beside the fastest of the others that holds the same floor. `not slower`: the lower
bound of the ratio is {NOT_SLOWER} or more.

{_table(heads, lines, words=(0, 1, 4, 6))}"""


def _samples(samples: dict[str, Any]) -> str:
    rows = [
        (name, f"{one['alone_ms']:.0f}", f"{one['together_ms']:.0f}", _ratio(one["share"]))
        for name, one in samples.items()
    ]
    heads = ("artifact", "16 runs, ms", "16 samples in one, ms", "share")
    return f"""## Many samples of one image

`--samples 16`, or a server's batch of equal conditions: the U-Net-256's encoder runs once
([how](precision.md#rewrites)).

{_table(heads, rows)}"""


def _rewrites(rewrites: dict[str, Any]) -> Iterator[str]:
    yield """## What each rewrite gives

The time of the graph without one rewrite / of the graph with all of them, batch 1, in turns in one process. Above 1
the rewrite helps. `shared_conditions` is for many samples and is here for what it costs one; `sample_statistics` is
for accuracy.
"""
    rows = [
        (f"{net}, {runtime}", name, str(one["places"]), _ratio(one))
        for net, runtimes in rewrites.items()
        for runtime, names in runtimes.items()
        for name, one in names.items()
    ]
    yield _table(("net, runtime", "rewrite", "places", "gain"), rows, words=(0, 1))


def _first_image(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return f"""## The first image

`cgan-translate` from its start to its image, U-Net-256, {len(ordered)} times: {ordered[len(ordered) // 2]:.2f} s in
the median, {ordered[-1]:.2f} s at most.
"""


def _busy(busy: dict[str, Any]) -> str:
    rows = [
        (
            title,
            found["unit"],
            *(f"{found[others]:.1f}" for others in ("0", "1", "2")),
            *(f"{found[others] / found['0']:.2f}" for others in ("1", "2")),
            "yes" if all(found[others] * UNFAIR >= found["0"] * share for others, share in FAIR.items()) else "no",
        )
        for title, found in busy.items()
    ]
    heads = ("", "unit", "idle", "beside 1", "beside 2", "share beside 1", "share beside 2", "holds")
    return f"""## A busy machine

Beside processes that compute all the time, on the two cores. A fair share is {FAIR["1"]:.2f} beside one and
{FAIR["2"]} beside two; `holds`: each share is within {UNFAIR} times of it. A command's rate has its imports in it,
which take one core.

{_table(heads, rows, words=(0, 1, 7))}"""


def main() -> None:
    """Write the page."""
    document = json.loads(RESULT.read_text())
    PAGE.write_text(page(document))
    sys.stdout.write(claim(document) + "\n")


if __name__ == "__main__":
    main()
