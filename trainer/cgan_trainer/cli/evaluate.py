"""cgan-train evaluate: what a trained generator is worth, in figures and images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cgan_runtime.errors import UsageError
from cyclopts import Parameter

__all__ = ["evaluate"]


def evaluate(
    *runs: Path,
    weights: str = "last",
    split: Literal["test", "val"] | None = None,
    data: Path | None = None,
    images: int | None = None,
    pictures: Annotated[int | None, Parameter(show=False)] = None,
    seeds: int | None = None,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Measure trained generators on held-out images, beside a baseline and real images.

    Writes evaluation.json and evaluation.html into each run folder, and its index.html anew.

    Args:
        runs: Run folders; several are put side by side in one table.
        weights: last, best, or a checkpoint file.
        split: test or val; test where there is one.
        data: The dataset folder, where it is no longer the one the run was trained on.
        images: Judge at most so many images, evenly spread; all by default.
        pictures: How --images was called.
        seeds: Images drawn per condition for diversity; 8 by default. Not with labelled images: --images says it.
        out: Folder for a joint evaluation.json and evaluation.html of several runs.
        as_json: Print JSON instead of the table: an object, or a list of them for several runs.
    """
    if not runs:
        raise UsageError("no run was named: give the folder that was the --out of a training.")
    import json
    import shlex

    from cgan_runtime.atomic import write_atomic
    from cgan_runtime.progress import note

    from cgan_trainer.evaluation.page import write_page
    from cgan_trainer.evaluation.table import print_table
    from cgan_trainer.training.judge_run import find_weights, judge_run, write_evaluation

    most = pictures if images is None else images
    judged = []
    for run in runs:
        if len(runs) > 1:
            note(f"evaluating {run}")
        judged.append(judge_run(run, checkpoint=weights, split=split, data=data, images=most, seeds=seeds))
        write_evaluation(run, *judged[-1])
    found = [evaluation.to_json() for evaluation, _ in judged]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=1, allow_nan=False) + "\n"
        write_atomic(out / "evaluation.json", text)
        write_page(out / "evaluation.html", judged)
    if as_json:
        print(json.dumps(found[0] if len(found) == 1 else found, allow_nan=False))
    else:
        print_table([evaluation for evaluation, _ in judged])
        for sentence in dict.fromkeys(sentence for evaluation, _ in judged for sentence in evaluation.notes):
            note(sentence)
    for folder in runs if out is None else (*runs, out):
        note(f"Wrote {folder / 'evaluation.html'}")
    if len(runs) == 1:
        note(f"Next: cgan-export {shlex.quote(str(find_weights(runs[0], weights)))}")
    return 0
