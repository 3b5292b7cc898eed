"""Scalars and images of a run as TensorBoard events under RUN/tensorboard/.

Events are written at once by the caller: there is no thread and no queue as behind torch's SummaryWriter, so what
was handed over before a flush is in the file whatever signal comes next, and a full disk is an error here, not a
traceback of another thread. The steps are images seen.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from cgan_runtime.progress import note

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Board", "tag"]

_TAGS = {
    "lr": "optimizer/lr",
    "images_per_s": "speed/images_per_s",
    "images_per_second": "speed/images_per_second",
    "val_L1": "validation/L1",
}


def tag(name: str) -> str:
    """Where a column of metrics.csv is found: G_L1 in loss/, val_L1 in validation/, step_ms in speed/.

    A loss has the name of its network first, which begins with a capital letter.
    """
    if name in _TAGS or "/" in name:
        return _TAGS.get(name, name)
    if name.startswith("val_"):
        return f"validation/{name.removeprefix('val_')}"
    if name.endswith("_ms"):
        return f"speed/{name}"
    return f"loss/{name}" if re.match(r"[A-Z][A-Za-z0-9]*_", name) else f"run/{name}"


class Board:
    """Events of one session of a run; a session after a resume adds a file.

    Training goes on without the board: where the tensorboard package is missing or a write fails, one note says so
    and everything after it does nothing.

    Args:
        run: the run folder.
        images: how many had been seen when this session began; what earlier sessions wrote after them is void.
    """

    def __init__(self, run: Path, *, images: int = 0) -> None:
        self._stream: BinaryIO | None = None
        try:
            self._event, self._summary, self._session, record_writer = _protocol()
        except ImportError as error:
            note(
                f"No TensorBoard events are written: tensorboard cannot be imported ({error}); "
                'pip install "cgan-deploy[train]" brings it.'
            )
            return
        try:
            self._stream = _new_file(run / "tensorboard")
        except OSError as error:
            self._give_up(error)
            return
        self._records = record_writer(self._stream)
        self._write(file_version="brain.Event:2")
        # A session that starts at a step voids that step and all later ones of the files before.
        self._write(step=images + 1, session_log=self._session(status=self._session.START))
        self.flush()

    def __enter__(self) -> Self:
        """Return the board; leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Add figures.

        Args:
            images: seen so far.
            values: by name as in metrics.csv, for which `tag` finds the group, or by a tag with a slash.
        """
        self._add(images, ({"tag": tag(name), "simple_value": float(value)} for name, value in values.items()))

    def image(self, images: int, name: str, image: Image) -> None:
        """Add an RGB image, under "samples/grid" for example."""
        if self._stream is None:
            return
        encoded = io.BytesIO()
        image.convert("RGB").save(encoded, format="PNG")
        fields = {"width": image.width, "height": image.height, "colorspace": 3}
        self._add(images, [{"tag": name, "image": {**fields, "encoded_image_string": encoded.getvalue()}}])

    def flush(self) -> None:
        """Hand everything to the system.

        Call it before last.pt is written, so that a resumed run has no hole in its curves.
        """
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        self.flush()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _add(self, images: int, values: Iterable[Mapping[str, object]]) -> None:
        if self._stream is not None:
            self._write(step=images, summary=self._summary(value=list(values)))

    def _write(self, **fields: object) -> None:
        if self._stream is not None:
            try:
                self._records.write(self._event(wall_time=time.time(), **fields).SerializeToString())
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        note(f"No further TensorBoard events are written: {error}.")
        if self._stream is not None:
            with contextlib.suppress(OSError):  # closing flushes, which fails as the write did
                self._stream.close()
            self._stream = None


def _protocol() -> tuple[Any, Any, Any, Any]:
    """Event, Summary, SessionLog and the writer of records; tensorboard 2.x has them all at these places."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    return Event, Summary, SessionLog, RecordWriter


def _new_file(folder: Path) -> BinaryIO:
    """TensorBoard reads files in the order of their names: a number gives it, where a clock may run backwards."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*.cgan-train")]
    number = 1 + max((int(text) for text in numbers if text.isdecimal()), default=0)
    return (folder / f"events.out.tfevents.{number:010d}.cgan-train").open("xb")
