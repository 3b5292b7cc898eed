"""Reads the pickles inside PyTorch files without being able to run anything.

Python's unpickler calls whatever the file names. This one is a small stack machine that knows a few dozen
instructions and calls nothing: a class or function is only ever its name. Tensors come back as `TensorRef`,
a description of bytes that lie elsewhere in the file, which the caller checks before it takes memory for them.

A pickle can describe in a few bytes a value that is huge when written out: a tuple of two equal tuples of two equal
tuples, and so on. Nothing here hashes, compares, prints or copies such a value. Keys of a dict are words or whole
numbers; an entry with another key is dropped, for no state dict has one.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

__all__ = ["ForeignObject", "NotPlainError", "Storage", "TensorRef", "plain_from_pickle"]

# A checkpoint of 20,000 tensors has about 800,000.
MAX_INSTRUCTIONS: Final = 1_000_000
MAX_COPIED: Final = 1_000_000
MAX_AXES: Final = 8
MAX_KEY: Final = 2**32


class NotPlainError(Exception):
    """The pickle is damaged, or holds something besides containers, plain values and tensors."""


class ForeignObject(NotPlainError):  # noqa: N818 - it names what was found
    """The pickle holds an object of somebody's code; `name` is what it would have imported."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Storage:
    """The bytes a tensor lies in: `numel` elements of `dtype` (torch's name, "float32"), found under `key`."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class TensorRef:
    """A tensor as the pickle describes it, in elements of its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    path: str


@dataclass(frozen=True)
class _Ignored:
    """An object of a kind that training scripts leave beside the weights; it stays a name."""

    path: str


_DTYPES: Final = {
    "torch FloatStorage": "float32",
    "torch DoubleStorage": "float64",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
}
_HARMLESS: Final = frozenset(
    {
        "argparse Namespace",
        "collections defaultdict",
        "collections Counter",
        "builtins set",
        "__builtin__ set",
        "pathlib PosixPath",
        "pathlib WindowsPath",
        "numpy dtype",
        "numpy.core.multiarray scalar",
        "numpy._core.multiarray scalar",
        "torch device",
        "_codecs encode",
        "pytorch_lightning.utilities.parsing AttributeDict",
        "lightning_fabric.utilities.data AttributeDict",
        "lightning.fabric.utilities.data AttributeDict",
    }
)
_REBUILDS: Final = frozenset({"torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor"})
_KNOWN: Final = frozenset(
    {
        "collections OrderedDict",
        "torch Size",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_parameter_with_state",
        *_REBUILDS,
        *_DTYPES,
        *_HARMLESS,
        *(f"torch {name}" for name in (*_DTYPES.values(), "float", "double", "half", "long", "int")),
    }
)
_CONSTANTS: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_LITERALS: Final = frozenset(
    {
        *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    }
)
_MARK: Final = object()


def plain_from_pickle(stream: BinaryIO, *, strict: bool = False) -> Any:
    """The value of the pickle that starts here; the stream is left behind its end.

    Args:
        stream: where the pickle begins.
        strict: refuse what would be dropped or ignored here, because another unpickler is to read the same bytes.

    Raises:
        ForeignObject: it names a class or function that is not of torch's state dicts.
        NotPlainError: anything else that is not a well-formed pickle of plain values and tensors.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_INSTRUCTIONS:
                raise NotPlainError("it has too many instructions")
            machine.step(opcode.name, argument)
            if strict and (machine.dropped or opcode.name == "EMPTY_SET"):
                raise NotPlainError("it holds sets, keys that are no words, or objects of other code")
        return machine.stack[-1]
    except NotPlainError:
        raise
    # Damaged bytes end in ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeDecodeError, ...
    except Exception as error:
        raise NotPlainError(str(error) or type(error).__name__) from error


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0
        self.dropped = False

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[_size(int(argument))] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif name not in ("PROTO", "FRAME", "STOP"):
            self._combine(name, argument)

    def _combine(self, name: str, argument: Any) -> None:  # noqa: PLR0912 - one case per instruction
        stack = self.stack
        match name:
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "LIST":
                stack.append(self._since_mark())
            case "DICT":
                stack.append(self._plain(_pairs(self._since_mark())))
            case "APPEND":
                _fill(stack[-2], [stack.pop()])
            case "APPENDS" | "ADDITEMS":
                items = self._since_mark()
                _fill(stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _fill(stack[-1], self._plain([(key, value)]))
            case "SETITEMS":
                pairs = self._plain(_pairs(self._since_mark()))
                _fill(stack[-1], pairs)
            case "GLOBAL":
                stack.append(_named(argument))
            case "STACK_GLOBAL":
                leaf, module = stack.pop(), stack.pop()
                if type(leaf) is not str or type(module) is not str:
                    raise NotPlainError("it names a function in an unknown way")
                stack.append(_named(f"{module} {leaf}"))
            case "REDUCE" | "NEWOBJ":
                arguments, what = stack.pop(), stack.pop()
                self._count_copies(arguments)
                made = _made(what, arguments)
                self.dropped |= isinstance(made, _Ignored)
                stack.append(self._plain(made) if isinstance(made, _Pairs) else made)
            case "BUILD":  # attributes of a dict (_metadata) or of something ignored: not needed
                stack.pop()
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case _:
                raise NotPlainError(f"it uses the instruction {name}")

    def _count_copies(self, arguments: Any) -> None:
        """What a call copies is counted: a container from the memo can be copied by every instruction."""
        items = arguments if isinstance(arguments, tuple) else ()
        self.copied += sum(len(item) for item in items[:4] if isinstance(item, list | tuple | dict))
        if self.copied > MAX_COPIED:
            raise NotPlainError("it copies too much")

    def _plain(self, pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
        """The pairs with plain keys as a dict.

        Hashing a tuple of tuples could take for ever, and so could many numbers with one hash.
        """
        kept = {key: value for key, value in pairs if type(key) is str or (type(key) is int and abs(key) < MAX_KEY)}
        self.dropped |= len(kept) < len(pairs)
        return kept

    def _since_mark(self) -> list[Any]:
        stack = self.stack
        at = len(stack) - 1 - next(i for i, item in enumerate(reversed(stack)) if item is _MARK)
        items = stack[at + 1 :]
        del stack[at:]
        return items


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(items[::2], items[1::2], strict=True))


def _fill(target: Any, items: list[Any] | dict[Any, Any]) -> None:
    if isinstance(target, _Ignored):
        return
    if isinstance(target, list) and isinstance(items, list):
        target.extend(items)
    elif isinstance(target, dict) and isinstance(items, dict):
        target.update(items)
    else:
        raise NotPlainError("items are put into something that takes none")


def _named(path: str) -> _Name:
    if path not in _KNOWN:
        raise ForeignObject(path.replace(" ", "."))
    return _Name(path)


def _made(what: Any, arguments: Any) -> Any:
    """What a call with `arguments` would give, for the few callables that state dicts use."""
    if not isinstance(what, _Name) or not isinstance(arguments, tuple):
        raise NotPlainError("it calls something that is no function")
    if what.path in _HARMLESS:
        return _Ignored(what.path)
    if what.path == "collections OrderedDict":
        return _ordered(arguments[0] if arguments else {})
    if what.path == "torch Size":
        return _sizes(arguments[0])
    if what.path.startswith("torch._utils _rebuild_parameter"):
        return arguments[0]
    if what.path in _REBUILDS:
        storage, offset, shape, stride = arguments[:4]
        if not isinstance(storage, Storage):
            raise NotPlainError("a tensor has no storage")
        return TensorRef(storage, _size(offset), _sizes(shape), _sizes(stride))
    raise NotPlainError(f"it calls {what.path}")


class _Pairs(list[tuple[Any, Any]]):
    """What an ordered dict is made of."""


def _ordered(items: Any) -> _Pairs:
    if isinstance(items, dict):
        return _Pairs(items.items())
    if isinstance(items, list) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in items):
        return _Pairs((key, value) for key, value in items)
    raise NotPlainError("an ordered dict is made of something else")


def _storage(identity: Any) -> Storage:
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= MAX_AXES:
        raise NotPlainError("a storage is described in an unknown way")
    kind, dtype, key, _, numel, *view = identity
    sound = kind == "storage" and isinstance(dtype, _Name) and type(key) in (str, int)
    if not sound or any(item is not None for item in view):
        raise NotPlainError("a storage is described in an unknown way")
    return Storage(str(key), _DTYPES[dtype.path], _size(numel))


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**48:
        raise NotPlainError("a size is no whole number, negative or absurd")
    return value


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list | tuple) or len(values) > MAX_AXES:
        raise NotPlainError("a shape is no list of sizes")
    return tuple(map(_size, values))
