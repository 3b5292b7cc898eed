"""Train every variant of a comparison, judge each on the same pictures, and write the tables."""

from __future__ import annotations

from dataclasses import replace

from cgan_runtime.errors import UsageError
from cgan_runtime.progress import note

from cgan_trainer.ablation.report import Compared, write_report
from cgan_trainer.ablation.variants import What, variants
from cgan_trainer.evaluation.evaluate import judge_run, write_evaluation
from cgan_trainer.training.checks import check_config
from cgan_trainer.training.config import Pix2pixConfig, RunOptions
from cgan_trainer.training.start import train_pix2pix

__all__ = ["ablate"]


def ablate(
    what: What, config: Pix2pixConfig, run: RunOptions, *, pictures: int | None
) -> tuple[int, list[Compared]]:
    """Train and judge; a variant that is complete is not trained again, one that was interrupted goes on.

    Args:
        what: the comparison.
        config: what all variants have in common.
        run: data, machine, and the folder that gets the report, and under runs/ a run folder per variant.
        pictures: judge on at most so many; all by default.

    Returns:
        The exit code, 130 after an interruption, and what was compared.

    Raises:
        UsageError: an option cannot be used with a variant, or a folder holds a run with other options.
    """
    if run.max_minutes is not None:
        raise UsageError("--max-minutes cannot be used here: variants are compared after the same --images.")
    rows = variants(what, config)
    for variant in rows:
        check_config(variant.of(config), run)
    compared: list[Compared] = []
    for number, variant in enumerate(rows, start=1):
        note(f"[{number}/{len(rows)}] {variant.name}")
        out = run.out / "runs" / variant.folder(config)
        options = replace(run, out=out, resume=(out / "last.pt").exists(), evaluate=False)
        code = train_pix2pix(variant.of(config), options)
        if code != 0:
            return code, compared
        judged = judge_run(out, pictures=pictures)
        write_evaluation(out, *judged)
        compared.append(Compared(variant=variant, evaluation=judged[0], folder=out))
    write_report(run.out, what, compared, config, run)
    return 0, compared
