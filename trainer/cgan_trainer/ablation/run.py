"""Train every variant of a comparison, judge each on the same images, and write the tables. It names no family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cgan_runtime.errors import UsageError
from cgan_runtime.progress import note

from cgan_trainer.ablation.page import write_page
from cgan_trainer.ablation.report import Compared, Comparison, write_report
from cgan_trainer.configs.base import RunOptions, TrainConfig, check_config
from cgan_trainer.families import FAMILIES
from cgan_trainer.families.base import Ablation, Variant
from cgan_trainer.training.judge_run import judge_run, write_evaluation
from cgan_trainer.training.start import describe, train

__all__ = ["ablate", "describe_comparison"]


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
    ablation = _checked(what, config, run, images)
    compared: list[Compared] = []
    for number, variant in enumerate(ablation.variants, start=1):
        note(f"[{number}/{len(ablation.variants)}] {variant.name}")
        options = _options_of(variant, config, run)
        out = options.out
        code = train(variant.of(config), options)
        if code != 0:
            return code, Comparison(ablation=ablation, compared=tuple(compared))
        judged = judge_run(out, data=options.data, images=images)
        write_evaluation(out, *judged)
        compared.append(Compared(variant=variant, evaluation=judged[0], folder=out))
    comparison = Comparison(ablation=ablation, compared=tuple(compared))
    write_report(run.out, what, comparison, config, run)
    write_page(run.out / f"{what}.html", what, comparison, config, run, images=images)
    return 0, comparison


def describe_comparison(what: str, config: TrainConfig, run: RunOptions, *, images: int | None) -> dict[str, Any]:
    """What `ablate` would do, as plain values: a description of each variant's run, and the minutes of all.

    A few steps of each are timed; nothing is written.
    """
    ablation = _checked(what, config, run, images)
    described = {
        variant.name: describe(variant.of(config), _options_of(variant, config, run))
        for variant in ablation.variants
    }
    return {
        "what": what,
        "out": str(run.out),
        "images_judged": images,
        "expected_minutes": round(sum(one["expected_minutes"] for one in described.values()), 1),
        "variants": described,
    }


def _checked(what: str, config: TrainConfig, run: RunOptions, images: int | None) -> Ablation:
    """The comparison, if every option can be used: before hours are spent on the first variant."""
    if run.max_minutes is not None:
        raise UsageError("--max-minutes cannot be used here: variants are compared after the same --images.")
    if images is not None and images < 1:
        raise UsageError(f"--images-judged {images} cannot be used: give 1 or more.")
    ablation = FAMILIES[config.family].ablations[what](config)
    for variant in ablation.variants:
        check_config(variant.of(config), run)
    return ablation


def _options_of(variant: Variant, config: TrainConfig, run: RunOptions) -> RunOptions:
    out = run.out / "runs" / variant.folder(config)
    return replace(run, out=out, resume=(out / "last.pt").exists(), evaluate=False)
