"""Train every variant of a comparison, judge each on the same images, and write the tables. It names no family."""

from __future__ import annotations

from dataclasses import replace

from cgan_runtime.errors import UsageError
from cgan_runtime.progress import note

from cgan_trainer.ablation.report import Compared, Comparison, write_report
from cgan_trainer.configs.base import RunOptions, TrainConfig, check_config
from cgan_trainer.families import FAMILIES
from cgan_trainer.training.judge_run import judge_run, write_evaluation
from cgan_trainer.training.start import train

__all__ = ["ablate"]


def ablate(what: str, config: TrainConfig, run: RunOptions, *, images: int | None) -> tuple[int, Comparison]:
    """Train and judge; a variant that is complete is not trained again, one that was interrupted goes on.

    Args:
        what: the comparison.
        config: what all variants have in common.
        run: data, machine, and the folder that gets the report, and under runs/ a run folder per variant.
        images: judge on at most so many; all by default.

    Returns:
        The exit code, 130 after an interruption, and what was compared.

    Raises:
        UsageError: an option cannot be used with a variant, or a folder holds a run with other options.
    """
    if run.max_minutes is not None:
        raise UsageError("--max-minutes cannot be used here: variants are compared after the same --images.")
    ablation = FAMILIES[config.family].ablations[what](config)
    for variant in ablation.variants:
        check_config(variant.of(config), run)
    compared: list[Compared] = []
    for number, variant in enumerate(ablation.variants, start=1):
        note(f"[{number}/{len(ablation.variants)}] {variant.name}")
        out = run.out / "runs" / variant.folder(config)
        options = replace(run, out=out, resume=(out / "last.pt").exists(), evaluate=False)
        code = train(variant.of(config), options)
        if code != 0:
            return code, Comparison(ablation=ablation, compared=tuple(compared))
        judged = judge_run(out, images=images)
        write_evaluation(out, *judged)
        compared.append(Compared(variant=variant, evaluation=judged[0], folder=out))
    comparison = Comparison(ablation=ablation, compared=tuple(compared))
    write_report(run.out, what, comparison, config, run)
    return 0, comparison
