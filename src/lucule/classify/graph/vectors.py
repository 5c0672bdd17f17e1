"""Matrix products and functions of sixteen float32 numbers at a time, written for the compiler vector by vector.

Left alone, the compiler keeps no part of a product in registers and cannot vectorise an exponential. So these few
functions say what they want: they become AVX-512, AVX2 or NEON code, whatever there is. Libraries of linear algebra are
as fast, but start threads of their own and cannot work on what lies in the cache already.

All arrays are float32 and C-contiguous. A product works on whole vectors and on some rows at a time, so weights are
padded (`padded`), and buffers have room for a multiple of eight rows; what is in the surplus rows does not matter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES: Final = 16
_INPUTS: Final = 4  # of a product by rows at a time
# Vectors of columns of a product at a time, and the rows: the sums fill half of the registers. Few columns need many
# rows, as a sum that is added to has to wait for itself.
_WIDEST, _MIDDLE, _WIDE_ROWS, _ROWS = (4, 2, 4, 8) if binding.get_host_cpu_features().get("avx512f") else (1, 1, 4, 4)
_FLOAT: Final = ir.FloatType()
_WORD: Final = ir.IntType(64)
_BITS: Final = ir.IntType(32)
_EXP2: Final = (
    1.535336188319500e-4, 1.339887440266574e-3, 9.618437357674640e-3, 5.550332471162809e-2, 2.402264791363012e-1,
    6.931472028550421e-1, 1.0,
)  # fmt: skip
_LOG: Final = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_LOG2E: Final = 1.4426950408889634


def padded(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights `(inputs, outputs)` with zeros up to a multiple of 4 inputs and of 16 outputs."""
    inputs, outputs = weights.shape
    return np.ascontiguousarray(np.pad(weights, ((0, -inputs % _INPUTS), (0, -outputs % LANES))), np.float32)


# What follows writes the instructions; `b` is the builder, addresses are whole numbers.


def _vector(lanes: int = LANES) -> ir.VectorType:
    return ir.VectorType(_FLOAT, lanes)


def _word(value: int) -> ir.Constant:
    return ir.Constant(_WORD, value)


def _same(value: float, lanes: int = LANES) -> ir.Constant:
    return ir.Constant(_vector(lanes), [float(np.float32(value))] * lanes)


def _at(b: Any, base: Any, place: Any) -> Any:
    """Address of the number at `place` counted from `base`."""
    return b.add(base, b.mul(place, _word(4)))


def _load(b: Any, address: Any, lanes: int = LANES) -> Any:
    return b.load(b.inttoptr(address, _vector(lanes).as_pointer()), align=4)


def _store(b: Any, value: Any, address: Any) -> None:
    b.store(value, b.inttoptr(address, value.type.as_pointer()), align=4)


def _spread(b: Any, address: Any, lanes: int = LANES) -> Any:
    """The number at an address in all lanes."""
    number = b.load(b.inttoptr(address, _FLOAT.as_pointer()), align=4)
    nothing = ir.Constant(_vector(lanes), ir.Undefined)
    first = b.insert_element(nothing, number, ir.Constant(_BITS, 0))
    return b.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_BITS, lanes), [0] * lanes))


def _add_times(b: Any, total: Any, one: Any, other: Any) -> Any:
    return b.fadd(b.fmul(one, other, flags=("contract",)), total, flags=("contract",))


def _larger(b: Any, one: Any, other: Any) -> Any:
    return b.select(b.fcmp_ordered(">", one, other), one, other)


def _polynomial(b: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    total = _same(coefficients[0])
    for coefficient in coefficients[1:]:
        total = _add_times(b, _same(coefficient), total, x)
    return total


def _exp2(b: Any, x: Any) -> Any:
    """Powers of 2 with exponents -100 to 100, others as those; relative error 1e-7."""
    x = _larger(b, x, _same(-100))
    x = b.select(b.fcmp_ordered("<", x, _same(100)), x, _same(100))
    nearest = b.module.declare_intrinsic(f"llvm.nearbyint.v{LANES}f32", (), ir.FunctionType(_vector(), [_vector()]))
    whole = b.call(nearest, [x])
    ints = ir.VectorType(_BITS, LANES)
    biased = b.add(b.fptosi(whole, ints), ir.Constant(ints, [127] * LANES))
    power = b.bitcast(b.shl(biased, ir.Constant(ints, [23] * LANES)), _vector())
    return b.fmul(_polynomial(b, b.fsub(x, whole), _EXP2), power)


def _sigmoid(b: Any, x: Any) -> Any:
    return b.fdiv(_same(1), b.fadd(_same(1), _exp2(b, b.fmul(x, _same(-_LOG2E)))))


def _silu(b: Any, x: Any) -> Any:
    return b.fdiv(x, b.fadd(_same(1), _exp2(b, b.fmul(x, _same(-_LOG2E)))))


def _log(b: Any, x: Any) -> Any:
    """Natural logarithms of positive numbers, to rounding (after Moshier, Cephes library)."""
    ints = ir.VectorType(_BITS, LANES)

    def all_lanes(value: int) -> ir.Constant:
        return ir.Constant(ints, [value] * LANES)

    bits = b.bitcast(x, ints)
    exponent = b.sub(b.lshr(bits, all_lanes(23)), all_lanes(126))
    fraction = b.bitcast(b.or_(b.and_(bits, all_lanes(0x7FFFFF)), all_lanes(0x3F000000)), _vector())
    small = b.fcmp_ordered("<", fraction, _same(0.70710678))
    exponent = b.sitofp(b.select(small, b.sub(exponent, all_lanes(1)), exponent), _vector())
    f = b.fsub(b.select(small, b.fadd(fraction, fraction), fraction), _same(1))
    square = b.fmul(f, f)
    total = b.fmul(b.fmul(f, square), _polynomial(b, f, _LOG))
    total = _add_times(b, total, exponent, _same(-2.12194440e-4))
    total = _add_times(b, total, square, _same(-0.5))
    return _add_times(b, b.fadd(f, total), exponent, _same(0.693359375))


def _loop(
    b: Any, count: Any, start: Sequence[Any], turn: Callable[..., Sequence[Any]], stride: int = 1
) -> Sequence[Any]:
    """Let `turn(i, *values)` give the next values for i = 0, stride, ... below `count` (above 0); the last ones."""
    before = b.block
    body, after = b.append_basic_block("turn"), b.append_basic_block("after")
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(_WORD)
    values = [b.phi(value.type) for value in start]
    last = turn(i, *values)
    following = b.add(i, _word(stride))
    i.add_incoming(_word(0), before)
    i.add_incoming(following, body)
    for value, first, final in zip(values, start, last, strict=True):
        value.add_incoming(first, before)
        value.add_incoming(final, body)
    b.cbranch(b.icmp_signed("<", following, count), body, after)
    b.position_at_end(after)
    return last


def _instructions(write: Callable[..., None]) -> Any:
    """A function for compiled code; it consists of what `write(b, *arguments)` writes, the arguments whole numbers."""

    def written(_typing, *arguments):  # type: ignore[no-untyped-def]
        def generate(context, b, _signature, values):  # type: ignore[no-untyped-def]
            write(b, *values)
            return context.get_dummy_value()

        return types.void(*[types.intp] * len(arguments)), generate

    written.__signature__ = inspect.signature(write)  # type: ignore[attr-defined]
    return intrinsic(written)


def _tile(rows: int, wide: int, *, by_rows: bool, stride: int, silu: bool) -> Any:
    """Add the product of some rows with `wide` vectors of columns of the weights to `out`, then SiLU if wanted.

    Input i of row r lies at `r * pitch + i` if `by_rows`, else at `i * pitch + r`.
    """

    @_instructions
    def tile(
        b: Any, values: Any, pitch: Any, weights: Any, columns: Any, out: Any, out_pitch: Any, inputs: Any
    ) -> None:
        lines = [_at(b, out, b.mul(_word(r), out_pitch)) for r in range(rows)]
        places = [_at(b, line, _word(LANES * v)) for line in lines for v in range(wide)]

        def turn(first: Any, *before: Any) -> list[Any]:
            sums = list(before)
            for step in range(stride):
                i = b.add(first, _word(step))
                line = _at(b, weights, b.mul(i, columns))
                own = [_load(b, _at(b, line, _word(LANES * v))) for v in range(wide)]
                for r in range(rows):
                    place = b.add(b.mul(_word(r), pitch), i) if by_rows else b.add(b.mul(i, pitch), _word(r))
                    value = _spread(b, _at(b, values, place))
                    for v in range(wide):
                        sums[r * wide + v] = _add_times(b, sums[r * wide + v], value, own[v])
            return sums

        sums = _loop(b, inputs, [_load(b, place) for place in places], turn, stride)
        for place, total in zip(places, sums, strict=True):
            _store(b, _silu(b, total) if silu else total, place)

    return tile


def _product(*, by_rows: bool, silu: bool) -> Any:
    stride = _INPUTS if by_rows else 1
    wide, middle, single = (
        _tile(rows, vectors, by_rows=by_rows, stride=stride, silu=silu)
        for rows, vectors in ((_WIDE_ROWS, _WIDEST), (_ROWS, _MIDDLE), (_ROWS, 1))
    )

    @njit(nogil=True)  # what calls it is cached, with it inside
    def product(values, start, pitch, weights, out, used):  # type: ignore[no-untyped-def]
        inputs, outputs = weights.shape
        out_pitch = out.shape[1]
        column = 0
        while column < outputs:
            left = (outputs - column) // LANES
            many = _WIDEST if left >= _WIDEST else _MIDDLE if left >= _MIDDLE else 1
            w = weights.ctypes.data + 4 * column
            for row in range(0, used, _WIDE_ROWS if many == _WIDEST else _ROWS):
                a = values.ctypes.data + 4 * (start + row * (pitch if by_rows else 1))
                o = out.ctypes.data + 4 * (row * out_pitch + column)
                if many == _WIDEST:
                    wide(a, pitch, w, outputs, o, out_pitch, inputs)
                elif many == _MIDDLE:
                    middle(a, pitch, w, outputs, o, out_pitch, inputs)
                else:
                    single(a, pitch, w, outputs, o, out_pitch, inputs)
            column += many * LANES

    return product


add_rows = _product(by_rows=True, silu=False)
"""`out[r] += values[r] @ weights` for the rows up to `used`: `(values, start, pitch, weights, out, used)`.

Input i of row r is number `start + r * pitch + i` of `values`.
"""

add_rows_silu = _product(by_rows=True, silu=True)
"""As `add_rows`, and SiLU of the sums."""

add_columns = _product(by_rows=False, silu=False)
"""As `add_rows`, with input i of row r at `start + i * pitch + r`."""


@_instructions
def _log_vectors(b: Any, address: Any, vectors: Any) -> None:
    def turn(i: Any) -> list[Any]:
        place = _at(b, address, b.mul(i, _word(LANES)))
        _store(b, _log(b, _load(b, place)), place)
        return []

    _loop(b, vectors, [], turn)


@_instructions
def _activate_vectors(b: Any, values: Any, slopes: Any, vectors: Any) -> None:
    def turn(i: Any) -> list[Any]:
        place = b.mul(i, _word(LANES))
        x = _load(b, _at(b, values, place))
        part = _sigmoid(b, x)
        value = b.fmul(x, part)
        _store(b, value, _at(b, values, place))
        _store(b, _add_times(b, part, value, b.fsub(_same(1), part)), _at(b, slopes, place))
        return []

    _loop(b, vectors, [], turn)


@_instructions
def _softmax_vectors(b: Any, address: Any, rows: Any) -> None:
    def place(i: Any) -> Any:
        return _at(b, address, b.mul(i, _word(LANES)))

    def exponential(i: Any, total: Any) -> list[Any]:
        value = _exp2(b, b.fmul(b.fsub(_load(b, place(i)), top), _same(_LOG2E)))
        _store(b, value, place(i))
        return [b.fadd(total, value)]

    def divide(i: Any) -> list[Any]:
        _store(b, b.fmul(_load(b, place(i)), part), place(i))
        return []

    (top,) = _loop(b, rows, [_load(b, address)], lambda i, most: [_larger(b, most, _load(b, place(i)))])
    (total,) = _loop(b, rows, [_same(0)], exponential)
    part = b.fdiv(_same(1), total)
    _loop(b, rows, [], divide)


@_instructions
def _attend_vectors(b: Any, weights: Any, message: Any, pitch: Any, rows: Any, out: Any) -> None:
    def turn(i: Any, total: Any, most: Any) -> list[Any]:
        own = _load(b, _at(b, message, b.mul(i, pitch)))
        weight = _spread(b, _at(b, weights, b.mul(i, _word(LANES))))
        return [_add_times(b, total, weight, own), _larger(b, most, own)]

    total, most = _loop(b, rows, [_same(0), _load(b, message)], turn)
    _store(b, total, out)
    _store(b, most, _at(b, out, _word(LANES)))


@_instructions
def _contract_fields(b: Any, harmonics: Any, pitch: Any, mine: Any, other: Any, out: Any) -> None:
    for side, fields in enumerate((mine, other)):
        for degree, (first, last) in enumerate(((0, 3), (3, 8))):
            total = _same(0, 4)
            for m in range(first, last):
                turned = _spread(b, _at(b, harmonics, b.mul(_word(m), pitch)), 4)
                total = _add_times(b, total, turned, _load(b, _at(b, fields, _word(4 * m)), 4))
            _store(b, total, _at(b, out, _word(8 * side + 4 * degree)))


def _of_lines(combine: Callable[[Any, Any, Any], Any]) -> Any:
    @_instructions
    def combined(b: Any, one: Any, other: Any, out: Any, vectors: Any) -> None:
        def turn(i: Any) -> list[Any]:
            first, second, place = (_at(b, address, b.mul(i, _word(LANES))) for address in (one, other, out))
            _store(b, combine(b, _load(b, first), _load(b, second)), place)
            return []

        _loop(b, vectors, [], turn)

    @njit(nogil=True)
    def of_lines(one, i, other, j, out, r):  # type: ignore[no-untyped-def]
        pitch = out.shape[1]
        first, second = one.ctypes.data + 4 * pitch * i, other.ctypes.data + 4 * pitch * j
        combined(first, second, out.ctypes.data + 4 * pitch * r, pitch // LANES)

    return of_lines


def _squared_difference(b: Any, one: Any, other: Any) -> Any:
    difference = b.fsub(one, other)
    return b.fmul(difference, difference)


add_lines = _of_lines(lambda b, one, other: b.fadd(one, other))
"""`out[r] = one[i] + other[j]`: `(one, i, other, j, out, r)`. All have rows of the same length, a multiple of 16."""

square_lines = _of_lines(_squared_difference)
"""As `add_lines`, `out[r] = (one[i] - other[j]) ** 2`."""

_transposed = _tile(8, 1, by_rows=True, stride=1, silu=False)


@njit(cache=True, nogil=True)
def take_logs(values, start, size):  # type: ignore[no-untyped-def]
    """Natural logarithms in place of `size` numbers above 0, a multiple of 16 and not 0, from number `start` on."""
    _log_vectors(values.ctypes.data + 4 * start, size // LANES)


@njit(cache=True, nogil=True)
def activate(values, slopes, used):  # type: ignore[no-untyped-def]
    """SiLU in place of the rows of `values` up to `used`, above 0, and its slope there."""
    _activate_vectors(values.ctypes.data, slopes.ctypes.data, used * (values.shape[1] // LANES))


@njit(cache=True, nogil=True)
def softmax(values, first, last):  # type: ignore[no-untyped-def]
    """Softmax in place of the columns of `values` `(n, 16)`, over the rows `first` to before `last`, one or more."""
    _softmax_vectors(values.ctypes.data + 4 * LANES * first, last - first)


@njit(cache=True, nogil=True)
def attend(weights, head, message, column, first, last, out):  # type: ignore[no-untyped-def]
    """For 16 columns of `message` from `column` on, the sum weighted with `weights[:, head]` and the largest.

    Over the rows `first` to before `last`, one or more, into the two rows of `out`.
    """
    pitch = message.shape[1]
    own, messages = 4 * (LANES * first + head), 4 * (first * pitch + column)
    _attend_vectors(weights.ctypes.data + own, message.ctypes.data + messages, pitch, last - first, out.ctypes.data)


@njit(cache=True, nogil=True)
def add_transposed(values, start, pitch, weights, first, last, out):  # type: ignore[no-untyped-def]
    """`out[m] += sum of values[start + m * pitch + r] * weights[r]` over the rows r; `out` is `(8, 16)`.

    The rows are `first` to before `last`, one or more.
    """
    own, line = values.ctypes.data + 4 * (start + first), weights.ctypes.data + 4 * LANES * first
    _transposed(own, pitch, line, LANES, out.ctypes.data, LANES, last - first)


@njit(cache=True, nogil=True)
def contract(values, start, pitch, fields, mine, other, out, row):  # type: ignore[no-untyped-def]
    """Contract the eight harmonics `values[start + m * pitch]` of a pair with the fields of both points.

    `fields` `(n, 32)` hold four channels for each harmonic. `out[row]` gets degree 1 and degree 2 with those of `mine`,
    and the same with those of `other`, four channels each.
    """
    base, line = fields.ctypes.data, out.ctypes.data + 4 * LANES * row
    _contract_fields(values.ctypes.data + 4 * start, pitch, base + 128 * mine, base + 128 * other, line)


@njit(cache=True, nogil=True)
def fill_lines(line, out, used):  # type: ignore[no-untyped-def]
    """`out[r] = line` for the rows up to `used`, as long as a multiple of 16."""
    for r in range(used):
        for column in range(0, len(line), LANES):
            for c in range(column, column + LANES):
                out[r, c] = line[c]
