"""Filter expressions that a user types: `photons > 500 & x_err < 20`.

Read with Python's own grammar and translated node by node into a polars expression, so nothing is ever evaluated.
`&`, `|`, `!`/`~` and `and`, `or`, `not` mean the same, and comparisons bind more strongly than all of them.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import polars as pl

from lucule.core.errors import ColumnError, InputError

_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "abs": lambda e: e.abs(),
    "sqrt": lambda e: e.sqrt(),
    "log": lambda e: e.log(),
    "log10": lambda e: e.log10(),
    "exp": lambda e: e.exp(),
    "is_nan": lambda e: e.is_nan(),
}
_HELP: Final = "columns, numbers, < <= > >= == !=, + - * / % **, & | ~ and parentheses, abs sqrt log log10 exp is_nan"


def parse(text: str, columns: Iterable[str]) -> pl.Expr:
    """Translate `text` into a polars expression over `columns`.

    Raises
    ------
    ColumnError
        A name is not a column.
    InputError
        The text is not a condition in the language above.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"photons": [400, 900], "x_err": [10.0, 12.0]})
    >>> table.filter(parse("photons > 500 & x_err < 20", table.columns)).height
    1
    """
    tree = _tree(text)
    known = set(columns)
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Call):
        raise InputError("The condition must compare something", received=text, allowed=_HELP)
    condition: pl.Expr = _expression(tree, known, text)
    return condition


def comparisons(text: str) -> list[tuple[str, float]]:
    """Columns that `text` compares with numbers, and the numbers: what a plot shows as the cut.

    Examples
    --------
    >>> comparisons("500 < photons <= 5000 & x_err < 20")
    [('photons', 500.0), ('photons', 5000.0), ('x_err', 20.0)]
    """
    found = []
    for node in ast.walk(_tree(text)):
        if isinstance(node, ast.Compare):
            terms = [node.left, *node.comparators]
            for pair in zip(terms[:-1], terms[1:], strict=True):
                for name, other in (pair, pair[::-1]):
                    value = _number(other)
                    if isinstance(name, ast.Name) and value is not None:
                        found.append((name.id, value))
    return found


def _number(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -float(value)
    return None


def _tree(text: str) -> ast.expr:
    # In Python & binds more strongly than <, which is not what anybody who types this means.
    spelled = re.sub(r"&&?", " and ", text)
    spelled = re.sub(r"\|\|?", " or ", spelled)
    spelled = re.sub(r"!(?!=)|~", " not ", spelled)
    try:
        return ast.parse(spelled.strip(), mode="eval").body
    except SyntaxError:
        raise InputError("The condition cannot be read", received=text, allowed=_HELP) from None


def _expression(node: ast.expr, columns: set[str], text: str) -> Any:
    def inner(child: ast.expr) -> Any:
        return _expression(child, columns, text)

    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return pl.lit(value)
        case ast.Name(id=name):
            if name not in columns:
                raise ColumnError(
                    f"The condition {text!r} names the column {name}, which the table does not have",
                    received=name,
                    allowed=", ".join(sorted(columns)),
                )
            return pl.col(name)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~inner(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -inner(operand)
        case ast.BoolOp(op=ast.And(), values=values):
            return pl.all_horizontal([inner(value) for value in values])
        case ast.BoolOp(op=ast.Or(), values=values):
            return pl.any_horizontal([inner(value) for value in values])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](inner(left), inner(right))
        case ast.Compare(left=left, ops=ops, comparators=right) if all(type(op) in _COMPARE for op in ops):
            terms = [inner(left), *(inner(term) for term in right)]
            return pl.all_horizontal(
                [_COMPARE[type(op)](a, b) for op, a, b in zip(ops, terms[:-1], terms[1:], strict=True)]
            )
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](inner(argument))
    raise InputError(f"The condition uses {ast.unparse(node)!r}, which is not allowed", received=text, allowed=_HELP)
