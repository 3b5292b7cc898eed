"""index.html of a run: one file that shows where it stands, from its folder alone.

Nothing is loaded from anywhere: pictures are data URIs, charts are inline SVG, and the page's own policy forbids
the browser to fetch. It can be mailed. Without scripts everything is there; with them the slider moves.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path

from cgan_runtime.atomic import write_atomic

from cgan_trainer.watching.charts import Chart, draw
from cgan_trainer.watching.formatting import readable, readable_time
from cgan_trainer.watching.html import Markup, element, join
from cgan_trainer.watching.look import SCRIPT, STYLE
from cgan_trainer.watching.metric_charts import images_per_second, learning_charts, speed_charts
from cgan_trainer.watching.run_data import RunRecord, read_record
from cgan_trainer.watching.samples import frames, show
from cgan_trainer.watching.tables import evaluation_table, flatten, metrics_table, options_tables

__all__ = ["write_page"]


def write_page(run: Path) -> Path:
    """Write RUN/index.html, atomically; the same folder gives the same bytes.

    Args:
        run: an existing folder; what is there of config.json, metrics.csv, samples/ and evaluation.json is shown.

    Returns:
        The page.
    """
    text = "<!doctype html>\n" + _page(read_record(run)) + "\n"
    path = run / "index.html"
    # A name may hold what no encoding has (half of a surrogate pair): it is shown as a question mark.
    write_atomic(path, lambda stream: stream.write(text.encode(errors="replace")))
    return path


def _page(record: RunRecord) -> Markup:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{record.name} · cgan-train"),
        element("style", Markup(STYLE)),
    )
    main = element("main", _header(record), *_sections(record))
    return element("html", head, element("body", main, element("script", Markup(SCRIPT))), lang="en")


def _policy() -> str:
    """Only our script runs, known by its hash: text that found a way in would stay text."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _header(record: RunRecord) -> Markup:
    total = record.total
    if record.complete:
        status, kind = "complete", "done"
    elif not record.rows:
        status, kind = "waiting for the first save", "open"
    else:
        status, kind = f"{record.images / total:.0%} done" if total else "not complete", "open"
    family = str(record.config.get("family", "run"))
    parts = [
        element("p", f"cgan-train {family}", class_="kicker"),
        element("h1", record.name, " ", element("span", status, class_=f"status {kind}")),
    ]
    if total:
        share = min(record.images / total, 1.0)
        bar = element("i", style=f"width:{share:.1%}")
        parts += [element("div", bar, class_="bar", role="img", aria_label=f"{share:.0%} of the images seen")]
    parts.append(element("dl", *(_key_figure(*pair) for pair in _key_figures(record)), class_="keys"))
    parts += [element("p", problem, class_="problem", role="alert") for problem in record.problems]
    return element("header", *parts)


def _key_figures(record: RunRecord) -> list[tuple[str, str, str]]:
    """(name, figure, what is beside it)."""
    total, last = record.total, record.rows[-1] if record.rows else {}
    figures = [("images seen", f"{record.images:,}", f"of {total:,}" if total else "")]
    if "epoch" in last:
        figures.append(("epoch", f"{last['epoch']:.2f}", ""))
    if validated := record.points("val_L1"):
        best_images, best = min(validated, key=lambda point: point[1])
        figures.append(
            ("validation L1", readable(validated[-1][1]), f"best {readable(best)} at {best_images:,.0f}")
        )
    if rate := images_per_second(record):
        figures.append(("images per second", f"{rate:.3g}", ""))
    if seconds := last.get("seconds", 0.0):
        left = f"about {readable_time(seconds / record.images * (total - record.images))} left" if total else ""
        figures.append(("training time", readable_time(seconds), "" if record.complete else left))
    return figures


def _key_figure(name: str, figure: str, beside: str) -> Markup:
    return element("div", element("dt", name), element("dd", figure, element("small", beside)))


def _sections(record: RunRecord) -> list[Markup]:
    learning, speed = learning_charts(record), speed_charts(record)
    fixed = "The same validation pairs and the same seeds at every save, so what changes is the generator."
    sections = [_section("samples", "Samples", fixed, show(frames(record.samples), record.path))]
    if record.evaluation is not None:
        sections.append(_section("evaluation", "Evaluation", "", _evaluation(record)))
    if learning:
        table = element("details", element("summary", "Last rows of metrics.csv"), metrics_table(record))
        sections.append(_section("curves", "Curves", "", _charts(learning), table))
    if speed:
        sections.append(_section("speed", "Speed", "", _charts(speed)))
    sections.append(_section("commands", "Next", "", element("ul", *_commands(record), class_="commands")))
    if record.config:
        sections.append(_section("options", "Options", "", options_tables(record.config, _defaults(record.config))))
    return sections


def _section(name: str, title: str, lead: str, *parts: Markup) -> Markup:
    before = [element("h2", title, id=f"{name}-title")]
    if lead:
        before.append(element("p", lead, class_="quiet"))
    return element("section", *before, *parts, id=name, aria_labelledby=f"{name}-title")


def _charts(charts: list[Chart]) -> Markup:
    return element("div", *map(draw, charts), class_="charts")


def _evaluation(record: RunRecord) -> Markup:
    parts = [evaluation_table(record.evaluation)]
    if (record.path / "evaluation.html").exists():
        parts.append(element("p", element("a", "The whole evaluation, with pictures", href="evaluation.html")))
    return join(*parts)


def _defaults(config: Mapping[str, object]) -> Mapping[str, object]:
    """What the family's options are when nobody says otherwise; older runs do not say."""
    defaults = config.get("defaults")
    return defaults if isinstance(defaults, dict) else {}


def _commands(record: RunRecord) -> list[Markup]:
    run = record.path
    best = "best.pt" if (run / "best.pt").exists() or not (run / "last.pt").exists() else "last.pt"
    wanted = [
        ("Evaluate on the test split", ["cgan-train", "evaluate", str(run)]),
        ("Export, to run it anywhere", ["cgan-export", str(run / best)]),
    ]
    if (run / "tensorboard").is_dir():
        wanted.append(("Look closer with TensorBoard", ["tensorboard", "--logdir", str(run / "tensorboard")]))
    if record.config.get("data") and not record.complete:
        wanted.insert(0, ("Go on with the run", _resume(record)))
    return [element("li", element("p", says), _command(words)) for says, words in wanted]


def _command(words: list[str]) -> Markup:
    """To copy; a line breaks between two words rather than within one."""
    parts = [join(" " if place else "", element("span", shlex.quote(word))) for place, word in enumerate(words)]
    return element("pre", element("code", *parts), tabindex=0)


def _resume(record: RunRecord) -> list[str]:
    """The command that takes the run up again: what differs from the defaults has to be said again."""
    config = dict(record.config)
    words = ["cgan-train", str(config.get("family", "pix2pix")), "--data", str(config.get("data"))]
    words += ["--out", str(record.path)]
    usual = _defaults(config)
    for name, value in config.items():
        if name not in (*usual, "threads") or value is None or value == usual.get(name):
            continue
        for option, plain in flatten({name: value}).items():
            flag = option.replace("_", "-")
            values = plain if isinstance(plain, list | tuple) else [plain]
            for one in values:
                words += (
                    [f"--{flag}" if one else f"--no-{flag}"] if isinstance(one, bool) else [f"--{flag}", str(one)]
                )
    return [*words, "--resume"]
