"""Every chart of a run says what its axis counts, those of a family's own figures too."""

from __future__ import annotations

from pathlib import Path

from cgan_trainer.watching.metric_charts import learning_charts, speed_charts
from cgan_trainer.watching.run_data import read_record


def test_figures_that_no_chart_foresees_have_their_own_name_as_title_and_unit(tmp_path: Path) -> None:
    names = [
        "images",
        "epoch",
        "lr",
        "G_GAN",
        "D_real",
        "X_new",
        "val_L1",
        "val_kid",
        "images_per_s",
        "data_ms",
        "step_ms",
    ]
    rows = [[str(number), "1", *["0.5"] * (len(names) - 2), "9"] for number in (4, 8)]
    lines = [",".join([*names, "seconds"]), *(",".join(row) for row in rows)]
    (tmp_path / "metrics.csv").write_text("\n".join(lines) + "\n")
    record = read_record(tmp_path)
    charts = {chart.title: chart for chart in (*learning_charts(record), *speed_charts(record))}
    assert charts["Validation kid"].unit == "val_kid"
    assert charts["Validation L1"].unit == "mean difference, values -1 to 1"
    assert charts["Learning rate"].unit == "step size"
    assert charts["Images per second"].unit == "images/s"
    assert all(chart.unit for chart in charts.values())
