"""Single breaks of a source file, from its syntax tree.

constants     a number becomes another one, True becomes False
comparisons   < becomes <=, == becomes !=, in becomes not in, ...
operators     + becomes -, and becomes or, not x becomes x, ...
arguments     a named argument is left out, the first two unnamed ones are exchanged
returns       a result becomes None
conditions    the other branch is taken

Texts, annotations, `__all__` and code for type checkers stay: to break them changes nothing, or only a sentence.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Break", "breaks_of", "draw"]

_COMPARISONS: Final = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
_OPERATORS: Final = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "/",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}


@dataclass(frozen=True, order=True)
class Break:
    """One change of one place.

    Attributes:
        file: relative to the repository.
        line: from 1.
        begin: where the old text begins, in bytes of the file.
        end: the byte after it.
        new: what takes its place.
        old: what was there.
    """

    file: Path
    line: int
    begin: int
    end: int
    new: str
    old: str

    def apply(self, source: bytes) -> bytes:
        """The broken file."""
        return source[: self.begin] + self.new.encode() + source[self.end :]

    def __str__(self) -> str:
        shown = [" ".join(text.split()) for text in (self.old, self.new)]
        return " -> ".join(text if len(text) <= 60 else f"{text[:57]}..." for text in shown)


def draw(count: int, seed: int, files: Mapping[str, Sequence[tuple[Path, str]]]) -> list[Break]:
    """`count` breaks, in equal shares of every group of (file, source); the same for the same seed and sources."""
    numbers = random.Random(seed)
    left = {
        group: [one for file, text in members for one in breaks_of(file, text)] for group, members in files.items()
    }
    for found in left.values():
        numbers.shuffle(found)
    drawn: list[Break] = []
    while len(drawn) < count and any(left.values()):
        drawn += [found.pop() for found in left.values() if found]
    return drawn[:count]


def breaks_of(file: Path, source: str) -> list[Break]:
    """All breaks of a file, in the order of its text."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    text = source.encode()
    found = set()
    for node, new in _changes(ast.parse(source)):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        found.add(Break(file, node.lineno, begin, end, new, text[begin:end].decode()))
    return sorted(found)


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Expressions, and what to write in their place."""
    for node in _executed(tree):
        match node:
            case ast.Constant(value=bool() as value):
                yield node, str(not value)
            case ast.Constant(value=int() as value):
                yield node, str(value + 1)
            case ast.Constant(value=float() as value):
                yield node, str(value * 1.5 if value else 1.0)
            case ast.Compare(ops=[operator]):
                yield node, f"({_text(node.left)} {_COMPARISONS[type(operator)]} {_text(node.comparators[0])})"
            case ast.BinOp(op=operator) if type(operator) in _OPERATORS and not _is_text(node):
                yield node, f"({_text(node.left)} {_OPERATORS[type(operator)]} {_text(node.right)})"
            case ast.BoolOp(op=operator, values=values):
                word = " or " if isinstance(operator, ast.And) else " and "
                yield node, f"({word.join(map(_text, values))})"
            case ast.UnaryOp(op=ast.Not()):
                yield node, _text(node.operand)
            case ast.UnaryOp(op=ast.USub()):
                yield node, _text(node.operand)
            case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
                yield value, "None"
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                yield test, f"(not {_text(test)})"
            case ast.Call():
                yield from _calls(node)


def _calls(node: ast.Call) -> Iterator[tuple[ast.expr, str]]:
    def written(arguments: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> str:
        return ast.unparse(ast.Call(func=node.func, args=list(arguments), keywords=list(keywords)))

    for number, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield node, written(node.args, node.keywords[:number] + node.keywords[number + 1 :])
    if _exchangeable(node.args[:2]) and not _is_text(node):
        yield node, written([node.args[1], node.args[0], *node.args[2:]], node.keywords)


def _exchangeable(first: Sequence[ast.expr]) -> bool:
    starred = any(isinstance(argument, ast.Starred) for argument in first)
    return len({ast.dump(argument) for argument in first}) == 2 and not starred


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes below `tree` that have an effect when they run."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or _has_no_effect(node):
                continue
            yield node
            yield from _executed(node)


def _has_no_effect(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.Raise():
            return True  # sentences
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Assign(value=ast.Subscript(value=ast.Name(id="Literal" | "Callable" | "Annotated"))):
            return True
    return False


def _is_text(node: ast.AST) -> bool:
    return any(isinstance(part, ast.JoinedStr) or _is_string(part) for part in ast.iter_child_nodes(node))


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _text(node: ast.expr) -> str:
    plain = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.Constant)
    return ast.unparse(node) if plain else f"({ast.unparse(node)})"
