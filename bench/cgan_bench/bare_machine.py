"""Stand-ins for jaxtyping and pydantic on a machine that has PyTorch and numpy only.

GPU machines are often bare: a container with torch and nothing to install from. `gpu_check` runs there from a
copied source tree. What it runs (networks, training loop, noise) needs jaxtyping and pydantic for annotations and
checks of input only, so modules of the same names that check nothing are enough for it. They are installed where
the real package is missing, before anything of ours is imported, and by `gpu_check` alone: a bundle or a checkpoint
is never read through them.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final, TypeVar

__all__ = ["install_stand_ins"]

F = TypeVar("F")
_MISSING: Final = object()


def install_stand_ins() -> None:
    """Put the stand-ins of missing packages into ``sys.modules``; a real package is never replaced."""
    for name, members in STAND_INS.items():
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            module = ModuleType(name, __doc__)
            module.__spec__ = ModuleSpec(name, None)  # who asks whether the package is there needs one
            module.__dict__.update(members)
            sys.modules[name] = module


class AnyShape:
    """Any of jaxtyping's array types: ``Float[Tensor, "b c h w"]`` is an annotation and nothing else."""

    def __class_getitem__(cls, _: object) -> type[AnyShape]:
        return cls


class FieldInfo:
    """What ``Field(...)`` gives: a default, when it is not written, or metadata of an ``Annotated`` type."""

    def __init__(
        self,
        default: Any = _MISSING,
        *,
        default_factory: Callable[[], Any] | None = None,
        exclude_if: Callable[[Any], bool] | None = None,
        **_: object,
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.exclude_if = exclude_if


class BaseModel:
    """Named values with defaults. Nothing is checked or converted, and validators do not run."""

    def __init__(self, **given: Any) -> None:
        names = self._names()
        if unknown := sorted(given.keys() - set(names)):
            raise TypeError(f"{type(self).__name__} has no field {unknown[0]}")
        for name in names:
            object.__setattr__(self, name, given[name] if name in given else self._default(name))

    @classmethod
    def _names(cls) -> list[str]:
        """Fields in order, those of the base classes first; a field that is annotated again keeps its place."""
        names: dict[str, None] = {}
        for base in reversed(cls.__mro__):
            names.update(dict.fromkeys(inspect.get_annotations(base)))
        return [name for name in names if name != "model_config"]

    @classmethod
    def _default(cls, name: str) -> Any:
        default = getattr(cls, name, _MISSING)
        if isinstance(default, FieldInfo):
            default = default.default if default.default_factory is None else default.default_factory()
        if default is _MISSING or default is ...:
            raise TypeError(f"{cls.__name__} needs {name}")
        return default

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names()}

    def model_copy(self, *, update: dict[str, Any] | None = None) -> BaseModel:
        """A copy with other values."""
        return type(self)(**{**self._values(), **(update or {})})

    def model_dump(self, **_: object) -> dict[str, Any]:
        """Plain values, as for ``mode="json"``."""
        return {name: _plain(value) for name, value in self._values().items() if not self._excluded(name, value)}

    @classmethod
    def _excluded(cls, name: str, value: Any) -> bool:
        field = getattr(cls, name, None)
        return isinstance(field, FieldInfo) and field.exclude_if is not None and field.exclude_if(value)

    @classmethod
    def model_validate_json(cls, *_: object) -> BaseModel:
        """Files are not read without the real package."""
        raise RuntimeError(f"reading {cls.__name__} from a file needs pydantic; run: pip install pydantic")

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"{type(self).__name__} is immutable: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values().items())})"


class TypeAdapter:
    """Takes every value as it is."""

    def __init__(self, *_: object, **__: object) -> None:
        return

    def validate_python(self, value: Any, **_: object) -> Any:
        """Return the value unchanged: nothing is checked here."""
        return value


class ValidationError(ValueError):
    """Never raised here; named in ``except`` clauses."""


class Metadata:
    """A validator or serializer inside ``Annotated``: kept and never called."""

    def __init__(self, *_: object, **__: object) -> None:
        return


def identity_decorator(*_: object, **__: object) -> Callable[[F], F]:
    """``@model_validator(mode="after")`` leaves the method as it is."""
    return lambda function: function


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


STAND_INS: Final[dict[str, dict[str, Any]]] = {
    "jaxtyping": dict.fromkeys(("Bool", "Float", "Float64", "Int", "Int64", "Num", "Shaped", "UInt8"), AnyShape),
    "pydantic": {
        "BaseModel": BaseModel,
        "BeforeValidator": Metadata,
        "AfterValidator": Metadata,
        "PlainSerializer": Metadata,
        "ConfigDict": dict,
        "Field": FieldInfo,
        "TypeAdapter": TypeAdapter,
        "ValidationError": ValidationError,
        "field_validator": identity_decorator,
        "model_validator": identity_decorator,
    },
}
