"""bundle.json: what a bundle is, in one immutable value. The exporter writes it, everything reads it.

Version 2 may say what version 1 could not: encodings of another kind than `VERSION_1_KINDS`, backends other than
`VERSION_1_BACKENDS`, a graph other than "main", and the labels of figures. A bundle that needs none of the first
three is written as version 1, so that an older release reads it too. Version 3 may have artifacts that are built
for certain GPUs, which say so in their `plan`. In version 4 one file may be several artifacts, one for each backend
and precision that it was measured in, and a precision may be bf16.

The file is exactly ``dumps(manifest)``: indented JSON whose last key, `digest`, is the SHA-256 of the same
text without that key. A flipped bit anywhere in it, white space included, is therefore noticed, and the digest
names the bundle.

Engines come and go without changing what a generator computes by definition: `model_digest` covers the contract,
the FP32 graph and the golden samples, and names the model in images, servers and reports.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, FailFast, Field, PlainSerializer, ValidationError, model_validator

from cgan_runtime.contract import Contract, Value
from cgan_runtime.errors import BundleError
from cgan_runtime.limits import printable
from cgan_runtime.noise import MAX_JSON_NUMBER, MAX_SEED, parse_seed

__all__ = [
    "SCHEMA_VERSIONS",
    "Artifact",
    "Batch",
    "Figure",
    "File",
    "Golden",
    "Manifest",
    "Plan",
    "Profile",
    "Provenance",
    "Seed",
    "artifact_label",
    "dumps",
    "loads",
    "needed_version",
]

SCHEMA_VERSIONS: Final = (1, 2, 3, 4)
VERSION_1_KINDS: Final = frozenset({"image", "label"})
VERSION_1_BACKENDS: Final = frozenset({"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"})
REFERENCE: Final = ("onnxruntime", "fp32")  # backend and precision of the artifact that defines the generator
MAIN_GRAPH: Final = "main"
MANIFEST: Final = "bundle.json"
SIGNATURE: Final = "model.sig"
MAX_MANIFEST_BYTES: Final = 2_000_000
MAX_FILES: Final = 1000
MAX_BUNDLE_BYTES: Final = 4 << 30  # an ONNX file of one piece has at most 2 GiB

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# At most three levels of plain names: no "..", nothing absolute, nothing hidden.
RelativePath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,2}$")
]
BackendName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Size = tuple[Annotated[int, Field(ge=1, le=65536)], Annotated[int, Field(ge=1, le=65536)]]
Target = Annotated[str, Field(pattern=r"^sm[0-9]{2,3}$")]
MODEL_NAME: Final = r"^[A-Za-z0-9_-]{1,64}$"
ModelName = Annotated[str, Field(pattern=MODEL_NAME)]
# A number to 2**53-1, a string of digits beyond (seeded-noise rules, section 1).
Seed = Annotated[
    int,
    BeforeValidator(lambda value, info: parse_seed(value) if info.mode == "json" else value),
    Field(ge=0, le=MAX_SEED),
    PlainSerializer(lambda seed: seed if seed <= MAX_JSON_NUMBER else str(seed), return_type=int | str),
]


class File(Value):
    """A file of the bundle and what it must contain."""

    path: RelativePath
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0, le=MAX_BUNDLE_BYTES)]


class Figure(Value):
    """One measured fidelity figure and the limit it was held to; `label` says in words what it is."""

    value: float
    limit: float
    rule: Literal["<=", ">="]
    unit: str = ""
    label: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value keeps to its limit."""
        return self.value <= self.limit if self.rule == "<=" else self.value >= self.limit


class Batch(Value):
    """Batch sizes an artifact takes; `opt` is the one it is tuned for."""

    min: Annotated[int, Field(ge=1)] = 1
    opt: Annotated[int, Field(ge=1)] = 1
    max: Annotated[int, Field(ge=1)] = 64


class Profile(Value):
    """Sizes that an engine is optimised for: of the batch, and (height, width) where they are free."""

    batch: Batch
    min: Size | None = None
    opt: Size | None = None
    max: Size | None = None


class Plan(Value):
    """What a TensorRT plan was built with, and so what it needs to run.

    Attributes:
        version: of the TensorRT (or TensorRT-RTX) that built it: "11.4.0.106".
        targets: compute capabilities that it runs on: ("sm86", "sm89"). With `hardware` "ampere_plus" newer ones
            too.
        gpu: name of the GPU that it was built on; empty where it was built without one.
        hardware: TensorRT's hardware compatibility level.
        version_compatible: whether newer versions run it; it then holds program code.
        refittable: whether its weights can be replaced.
        byte_images: whether it takes and gives images as bytes [N, H, W, C], scaled and rounded inside.
        profiles: by number.
    """

    version: Annotated[str, Field(pattern=r"^[0-9]{1,4}(\.[0-9]{1,6}){1,3}$")]
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=32)]
    gpu: Annotated[str, Field(max_length=200)] = ""
    hardware: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    version_compatible: bool = False
    refittable: bool = False
    byte_images: bool = False
    profiles: Annotated[tuple[Profile, ...], Field(min_length=1, max_length=64)]


class Artifact(File):
    """One executable form of the generator: a file, and the backend and precision that execute it.

    `io` is the type of the file's float inputs and outputs. It is a matter of the file alone: runners take and give
    the contract's float32 and cast at this edge. `kept` names the layers of an FP16 or INT8 artifact that compute
    in FP32, because the image needs them to. A `plan` is there where the file is built for certain GPUs; there may
    be several artifacts of one backend and precision then. A `backend` without a runner in this release is read all
    the same: the other artifacts can be used.
    """

    backend: BackendName
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    batch: Batch
    size: tuple[int, int] | None
    requires: tuple[str, ...] = ()
    io: Literal["fp32", "fp16"] = "fp32"
    kept: tuple[str, ...] = ()
    fidelity: dict[str, Figure] = Field(default_factory=dict)
    plan: Plan | None = None

    @property
    def label(self) -> str:
        """What it is called among the artifacts of its bundle: by its file, or "openvino/bf16"."""
        return artifact_label(self.path, self.backend, self.precision)


def artifact_label(path: str, backend: str, precision: str) -> str:
    """Name of an artifact: that of its file, except with OpenVINO, which has one file for several precisions."""
    return f"{backend}/{precision}" if backend == "openvino" else path


class Golden(Value):
    """One sample anybody can repeat: inputs and outputs by tensor name (PNG for images, else .npy)."""

    seed: Seed
    draw: Annotated[int, Field(ge=0, lt=2**32)] = 0
    conditions: dict[str, RelativePath]
    outputs: dict[str, RelativePath]


class Provenance(Value):
    """Where the bundle comes from: `graph` of `checkpoint`. `assumed` lists what was not in the checkpoint."""

    checkpoint: str
    checkpoint_sha256: Sha256
    graph: str = MAIN_GRAPH
    options: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    created: str
    versions: dict[str, str]
    command: str


class Manifest(Value):
    """Everything bundle.json says (without its digest). `schema_version` is the lowest that can say it."""

    schema_version: Literal[1, 2, 3, 4] = 1
    name: ModelName
    family: ModelName
    contract: Contract
    artifacts: Annotated[tuple[Artifact, ...], Field(min_length=1, max_length=MAX_FILES), FailFast()]
    golden: Annotated[tuple[Golden, ...], Field(max_length=MAX_FILES), FailFast()]
    files: Annotated[tuple[File, ...], Field(max_length=MAX_FILES), FailFast()]
    provenance: Provenance

    @model_validator(mode="after")
    def _has_the_version_it_needs(self) -> Self:
        """Fill in the lowest version that can express this manifest, where none is given."""
        needed = needed_version(self.contract, self.artifacts, self.provenance.graph)
        if "schema_version" not in self.model_fields_set:
            self.__dict__["schema_version"] = needed  # the value is still being made: frozen from here on
        elif self.schema_version < needed:
            raise ValueError(f"its encodings, backends and graph need version {needed}")
        return self

    @model_validator(mode="after")
    def _names_each_file_once(self) -> Self:
        paths = [file.path.lower() for file in self.all_files]
        if len(set(paths)) < len(paths) or {MANIFEST, SIGNATURE} & set(paths) or not self._shares_files_well():
            raise ValueError("a file is listed twice")
        if sum(file.bytes for file in self.all_files) > MAX_BUNDLE_BYTES:
            raise ValueError(f"more than {MAX_BUNDLE_BYTES >> 30} GiB in all")
        if any(
            list(sample.conditions) != [c.name for c in self.contract.conditions]
            or list(sample.outputs) != [o.name for o in self.contract.outputs]
            for sample in self.golden
        ):
            raise ValueError("golden has other conditions or outputs than the contract")
        missing = {p for g in self.golden for p in (*g.conditions.values(), *g.outputs.values())}
        missing -= {file.path for file in self.files}
        if missing:
            raise ValueError(f"golden names unlisted files: {sorted(missing)}")
        return self

    @property
    def model_digest(self) -> str:
        """SHA-256 of what the generator is by definition: its contract, its FP32 graph and the golden samples."""
        hashes = {file.path: file.sha256 for file in self.all_files}
        graph = next((a.sha256 for a in self.artifacts if (a.backend, a.precision) == REFERENCE), "")
        golden = [
            {
                "seed": sample.seed,
                "draw": sample.draw,
                "conditions": {name: hashes[path] for name, path in sample.conditions.items()},
                "outputs": {name: hashes[path] for name, path in sample.outputs.items()},
            }
            for sample in self.golden
        ]
        return _digest({"contract": self.contract.to_json(), "graph": graph, "golden": golden})

    @property
    def all_files(self) -> tuple[File, ...]:
        """Every file besides bundle.json, once."""
        first: dict[str, Artifact] = {}
        for artifact in self.artifacts:
            first.setdefault(artifact.path, artifact)
        return (*first.values(), *self.files)

    def _shares_files_well(self) -> bool:
        """Whether artifacts of one path are one file that several backends or precisions execute."""
        first: dict[str, Artifact] = {}
        uses = set()
        for artifact in self.artifacts:
            other = first.setdefault(artifact.path, artifact)
            uses.add((artifact.path, artifact.backend, artifact.precision))
            if any(getattr(artifact, name) != getattr(other, name) for name in ("sha256", "bytes", "io", "plan")):
                return False
        return len(uses) == len(self.artifacts)


def needed_version(
    contract: Contract, artifacts: Sequence[Artifact] = (), graph: str = MAIN_GRAPH
) -> Literal[1, 2, 3, 4]:
    """The lowest schema version that can say every encoding, the graph and every artifact."""
    if any(a.precision == "bf16" for a in artifacts) or len({a.path for a in artifacts}) < len(artifacts):
        return 4
    if any(artifact.plan is not None for artifact in artifacts):
        return 3
    encodings = [c.encoding for c in contract.conditions] + [o.encoding for o in contract.outputs]
    kinds = {encoding.kind for encoding in encodings if encoding is not None}
    backends = {artifact.backend for artifact in artifacts}
    known = kinds <= VERSION_1_KINDS and backends <= VERSION_1_BACKENDS and graph == MAIN_GRAPH
    return 1 if known else 2


def dumps(manifest: Manifest) -> str:
    """The exact text of bundle.json."""
    document = manifest.model_dump(mode="json")
    if manifest.schema_version < 3:
        for artifact in document["artifacts"]:
            artifact.pop("plan")
    if manifest.schema_version == 1:
        _leave_out_what_version_1_did_not_have(document)
    return _text({**document, "digest": _digest(document)})


def loads(data: bytes, label: str) -> tuple[Manifest, str]:
    """The manifest and its digest from the bytes of bundle.json.

    Raises:
        BundleError: not JSON, damaged, edited by hand, of a newer version, or not of the schema.
    """
    try:
        document = json.loads(data.decode("utf-8")) if len(data) <= MAX_MANIFEST_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "schema_version" not in document:
        raise BundleError(f"{label} is not a bundle manifest or is damaged; export the checkpoint again.")
    version = document["schema_version"]
    if type(version) is not int or version not in SCHEMA_VERSIONS:
        known = f"{', '.join(map(str, SCHEMA_VERSIONS[:-1]))} and {SCHEMA_VERSIONS[-1]}"
        raise BundleError(
            f"{label} has schema version {printable(repr(version), 40)}, this release reads {known}; "
            "upgrade cgan-deploy."
        )
    digest = document.pop("digest", None)
    try:
        intact = digest == _digest(document) and data == _text({**document, "digest": digest}).encode()
    except (ValueError, RecursionError):  # NaN, or half of a surrogate pair: nothing that we wrote
        intact = False
    if not intact:
        raise BundleError(
            f"{label} is damaged or was edited (its digest does not match); export the checkpoint again."
        )
    try:
        return Manifest.model_validate_json(json.dumps(document)), str(digest)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = printable(".".join(map(str, first["loc"])) or "the manifest")
        raise BundleError(
            f"{label} does not follow the bundle schema at {where}: {printable(first['msg'])}."
        ) from error


def _leave_out_what_version_1_did_not_have(document: dict[str, Any]) -> None:
    """Remove the fields that version 1 does not have, because older releases refuse unknown fields.

    The graph is the main one, and a figure without its label is shown under the words of its key.
    """
    document["provenance"].pop("graph")
    for artifact in document["artifacts"]:
        for figure in artifact["fidelity"].values():
            figure.pop("label")


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(_text(document).encode()).hexdigest()


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
