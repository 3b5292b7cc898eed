"""What `<name>_png` takes and gives: files and text where people have them, tensors for the rest."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final

from cgan_runtime.contract import Condition, Contract, ImageEncoding, Output
from cgan_runtime.encodings import decoder_of, encoder_of
from cgan_runtime.errors import UsageError

__all__ = [
    "OUR_SENTENCE",
    "PING",
    "artifact_of",
    "image_outputs",
    "plain_files",
    "png_inputs",
    "png_model_exists",
    "travels_as_bytes",
]

# PNG, JPEG, WebP, both kinds of TIFF, GIF, BMP and PPM: none of them begins like this when it is no text.
BASE64_STARTS: Final = (b"iVBOR", b"/9j/", b"UklGR", b"SUkq", b"TU0A", b"R0lGOD", b"Qk", b"UD")
# Our models begin a sentence that is meant for the caller so; whatever else Triton answers as an error is not.
OUR_SENTENCE: Final = "cgan-deploy: "
# A request with this parameter is answered at once, without outputs, by the model and by the engine that it calls.
PING: Final = "cgan_ping"


def artifact_of(settings: Mapping[str, str]) -> str | None:
    """What a served model runs, "onnxruntime/fp32", from the parameters in its configuration.

    None where they name no precision, as those of earlier releases.
    """
    ran = [settings.get(key, "") for key in ("backend", "precision")]
    return "/".join(ran) if all(ran) else None


def png_inputs(contract: Contract) -> dict[str, Condition]:
    """Name on the wire -> condition, in the order of the contract.

    The image is called `image` where there is exactly one, whatever its family calls it; else each condition
    has its own name.
    """
    images = [c for c in contract.conditions if isinstance(c.encoding, ImageEncoding)]
    taken = {c.name for c in contract.conditions if c not in images} | {o.name for o in contract.outputs}
    alone = len(images) == 1 and "image" not in taken
    return {"image" if alone and c is images[0] else c.name: c for c in contract.conditions}


def image_outputs(contract: Contract) -> tuple[Output, ...]:
    """The outputs that `<name>_png` answers as PNG files."""
    return tuple(output for output in contract.outputs if decoder_of(output).is_image)


def png_model_exists(contract: Contract) -> bool:
    """Whether there is a `<name>_png`: an image goes in, or one comes out."""
    takes_image = any(isinstance(c.encoding, ImageEncoding) for c in contract.conditions)
    return takes_image or bool(image_outputs(contract))


def travels_as_bytes(condition: Condition) -> bool:
    """Whether `<name>_png` takes this condition as a file or text and encodes it."""
    return encoder_of(condition).as_bytes


def plain_files(files: Sequence[bytes], name: str) -> tuple[list[bytes], bool]:
    """The images' bytes, and whether any of them came as text: base64, with or without line breaks, or a data URL.

    Args:
        files: as they came, one per row.
        name: of the input, for messages.

    Raises:
        UsageError: text that begins like the base64 of an image and is none, or a data URL without base64.
    """
    plain, found = [], False
    for data in files:
        text = data.lstrip()
        if text[:5].lower() == b"data:":
            header, _, text = text.partition(b",")
            if not header.lower().endswith(b";base64"):
                raise UsageError(f"{name} is a data URL without base64; give data:image/png;base64,...")
        elif not text.startswith(BASE64_STARTS):
            plain.append(data)
            continue
        try:
            plain.append(base64.b64decode(b"".join(text.split()), validate=True))
        except binascii.Error as error:
            raise UsageError(
                f"{name} begins like base64 text but is not: it is cut short or has foreign letters."
            ) from error
        found = True
    return plain, found
