"""Label map -> brain MRI: axial slices of one head and of its anatomical labels.

Source: `ch2.nii.gz` (one person's averaged T1 scan), `ch2bet.nii.gz` (the same, brain only) and `aal.nii.gz` with
`aal.nii.txt` (116 named regions, Tzourio-Mazoyer et al. 2002) of the Debian package mricron-data, all 181x217x181
voxels of 1 mm. The regions are grouped into lobes and nuclei; a slice is shown as seen from above, forehead up, the
person's left on the left.

The split is by place: every split takes whole slabs of slices, slabs of different splits are at least 5 mm apart.
It is still one head: good for code, label scores and seeing what a net learns, and for no medical claim.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.dataset_writer import SPLITS, MadePair, write_dataset
from cgan_trainer.data.sources import DebianFiles, RawFile, read_debian

if TYPE_CHECKING:
    import numpy as np

    Volume = np.ndarray[Any, np.dtype[np.uint8]]  # x y z: to the right, to the front, up

__all__ = ["FILES", "GROUPS", "SLABS", "Slice", "group_of", "make_mri_labels"]

FILES = DebianFiles(
    package="mricron-data",
    folder=PurePosixPath("/usr/share/mricron/templates"),
    names=("aal.nii.gz", "aal.nii.txt", "ch2.nii.gz", "ch2bet.nii.gz"),
)
SIZE = 256
LABELLED_FROM = 0.05  # a slice with less of it labelled is left out
GAP = 5
# (split, first slice, end slice); slice 0 is the lowest, 72 mm below the reference plane.
SLABS = (
    ("train", 16, 51),
    ("test", 56, 68),  # base of the brain: cerebellum, temporal lobes, hippocampus
    ("train", 73, 101),
    ("val", 106, 116),  # above the nuclei: cingulate, all four lobes
    ("train", 121, 152),
)
# (name, colour, beginnings of the atlas's own names); the longest beginning that fits a name decides.
GROUPS: tuple[tuple[str, tuple[int, int, int], tuple[str, ...]], ...] = (
    ("outside", (0, 0, 0), ()),  # not brain: air, bone, skin
    ("other brain", (96, 96, 96), ()),  # mostly white matter, and the spaces filled with fluid
    ("sensorimotor cortex", (230, 25, 75), ("Precentral", "Postcentral", "Rolandic", "Supp_Motor", "Paracentral")),
    ("frontal lobe", (60, 180, 75), ("Frontal", "Olfactory", "Rectus")),
    ("insula", (255, 225, 25), ("Insula",)),
    ("cingulate cortex", (0, 130, 200), ("Cingulum",)),
    ("hippocampus and amygdala", (245, 130, 48), ("Hippocampus", "ParaHippocampal", "Amygdala")),
    ("occipital lobe", (145, 30, 180), ("Calcarine", "Cuneus", "Lingual", "Occipital")),
    ("parietal lobe", (70, 240, 240), ("Parietal", "SupraMarginal", "Angular", "Precuneus")),
    ("basal ganglia", (240, 50, 230), ("Caudate", "Putamen", "Pallidum")),
    ("thalamus", (210, 245, 60), ("Thalamus",)),
    ("temporal lobe", (250, 190, 212), ("Heschl", "Temporal", "Fusiform")),
    ("cerebellum", (0, 128, 128), ("Cerebelum",)),
    ("vermis", (220, 190, 255), ("Vermis",)),
)
OUTSIDE, OTHER_BRAIN = 0, 1
LICENCE = (
    "Cut from files of the Debian package mricron-data (BSD-3-Clause): the ch2 scan and the AAL regions. One "
    "head, for code and demonstrations: no medical use."
)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One pair. `z` counts slices of 1 mm from the lowest; `labelled` is the share with an atlas region, 0..1."""

    file: str
    split: str
    z: int
    labelled: float


def make_mri_labels(
    out: Path, source: Path | None = None, on_pair: Callable[[int, int], None] | None = None
) -> list[Slice]:
    """Write the dataset to `out`: 512x256, label map left (exact colours), MRI right.

    Args:
        out: the folder to make.
        source: a folder with the files, or the package as a .deb; None means the installed package.
        on_pair: told (pairs written, pairs in all) after each pair.

    Raises:
        BadInputError: the volumes are damaged, or do not lie on one grid.
    """
    raw = read_debian(FILES, source)
    scan, brain, regions = read_volumes(raw)
    classes = class_volume(regions, brain, region_groups(raw["aal.nii.txt"]))
    slices = plan_slices(regions)
    write_dataset(
        out,
        _pairs(slices, classes, scan),
        total=len(slices),
        described=_describe(raw, slices),
        on_pair=on_pair,
    )
    return slices


def group_of(region: str) -> int:
    """The index in GROUPS of an atlas region by its name, "Frontal_Sup_L" for example.

    Raises:
        BadInputError: a name of another atlas.
    """
    fitting = [
        (len(beginning), index)
        for index, (_, _, beginnings) in enumerate(GROUPS)
        for beginning in beginnings
        if region.startswith(beginning)
    ]
    if not fitting:
        raise BadInputError(
            f"aal.nii.txt names a region {region!r}, which is none of the AAL atlas: use the original."
        )
    return max(fitting)[1]


def region_groups(table: RawFile) -> dict[int, int]:
    """Region number to group, from the lines `number name code` of the atlas."""
    groups = {}
    for line in table.data.decode("ascii", errors="replace").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].isdecimal():
            groups[int(words[0])] = group_of(words[1])
    return groups


def read_volumes(raw: dict[str, RawFile]) -> tuple[Volume, Volume, Volume]:
    """Scan, brain-only scan and atlas on one grid, axes turned to right, front, up by their affine."""
    import numpy as np
    from nibabel.filebasedimages import ImageFileError
    from nibabel.funcs import as_closest_canonical
    from nibabel.nifti1 import Nifti1Image
    from nibabel.spatialimages import HeaderDataError

    volumes, affines = [], []
    for name in ("ch2.nii.gz", "ch2bet.nii.gz", "aal.nii.gz"):
        try:
            image = as_closest_canonical(  # type: ignore[no-untyped-call]  # nibabel left it without types
                Nifti1Image.from_bytes(gzip.decompress(raw[name].data))
            )
            values = np.asanyarray(image.dataobj)
        except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
            raise BadInputError(f"{name} is damaged ({error}): install {FILES.package} again.") from error
        volumes.append(np.clip(np.rint(values), 0, 255).astype(np.uint8))
        affines.append(image.affine)
    if any(volume.shape != volumes[0].shape for volume in volumes) or not all(
        np.allclose(affine, affines[0], atol=1e-3) for affine in affines
    ):
        raise BadInputError(f"the volumes do not lie on one grid: install {FILES.package} again.")
    return volumes[0], volumes[1], volumes[2]


def class_volume(regions: Volume, brain: Volume, groups: dict[int, int]) -> Volume:
    """Atlas regions to indices in GROUPS: brain without a region is one class, what is not brain another."""
    import numpy as np

    classes = np.where(brain > 0, OTHER_BRAIN, OUTSIDE).astype(np.uint8)
    for region in np.unique(regions[regions > 0]).tolist():
        if region not in groups:
            raise BadInputError(f"aal.nii.txt does not name region {region}: install {FILES.package} again.")
        classes[regions == region] = groups[region]
    return classes


def plan_slices(regions: Volume) -> list[Slice]:
    """The slices of every split, lowest first; the same every time."""
    slices = []
    for split in SPLITS:
        for z in (z for name, first, end in SLABS if name == split for z in range(first, end)):
            labelled = round(float((regions[:, :, z] > 0).mean()), 4)
            if labelled >= LABELLED_FROM:
                slices.append(Slice(file=f"z{z:03d}.png", split=split, z=z, labelled=labelled))
    return slices


def _pairs(slices: list[Slice], classes: Volume, scan: Volume) -> Iterator[MadePair]:
    import numpy as np
    from PIL import Image

    colors = np.array([color for _, color, _ in GROUPS], dtype=np.uint8)
    for one in slices:
        labels = colors[_upright(classes[:, :, one.z])]
        image = Image.fromarray(_upright(scan[:, :, one.z])).convert("RGB")
        yield MadePair(split=one.split, file=one.file, left=Image.fromarray(labels), right=image)


def _upright(plane: Volume) -> Volume:
    """Columns to the right, rows from the front to the back, in the middle of a black square."""
    import numpy as np

    rows = plane.T[::-1]
    around = [(SIZE - length) // 2 for length in rows.shape]
    return np.pad(
        rows, [(before, SIZE - length - before) for before, length in zip(around, rows.shape, strict=True)]
    )


def _describe(raw: dict[str, RawFile], slices: list[Slice]) -> dict[str, Any]:
    return {
        "name": "mri-labels",
        "domains": {"A": "labels", "B": "MRI"},
        "palettes": {"A": {"names": [name for name, _, _ in GROUPS], "colors": [color for _, color, _ in GROUPS]}},
        "sources": [file.describe() for file in raw.values()],
        "split": {
            "rule": f"whole slabs of axial slices; slabs of different splits are {GAP} slices apart",
            "slabs": [{"split": split, "first": first, "end": end} for split, first, end in SLABS],
            "size": SIZE,
            "labelled_from": LABELLED_FROM,
        },
        "licence": LICENCE,
        "pairs": [asdict(one) for one in slices],
    }
