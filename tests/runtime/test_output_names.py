"""Names of the files that are made of one sample: short where nothing else could be meant."""

from __future__ import annotations

import pytest
from cgan_runtime.jobs import _file_name

PNG, NPY, TXT = ".png", ".npy", ".txt"


@pytest.mark.parametrize(
    ("suffixes", "names"),
    [
        ({"picture": PNG}, {"a.png"}),
        ({"features": NPY}, {"a.npy"}),
        ({"picture": PNG, "score": TXT}, {"a.png", "a-score.txt"}),
        ({"picture": PNG, "score": TXT, "features": NPY}, {"a.png", "a-score.txt", "a-features.npy"}),
        ({"picture": PNG, "heat": PNG}, {"a-picture.png", "a-heat.png"}),
        ({"score": TXT, "features": NPY}, {"a-score.txt", "a-features.npy"}),
    ],
)
def test_the_only_image_or_the_only_file_needs_no_name_of_its_own(
    suffixes: dict[str, str], names: set[str]
) -> None:
    assert {_file_name("a", output, suffixes) for output in suffixes} == names
