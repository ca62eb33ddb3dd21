"""Short float32 vectors for numba: the classes of one pixel, or of one lattice vertex, in one register.

Numba has no SIMD type, and its loop vectoriser does not see that the short inner loops over classes
are one instruction each. These intrinsics say so. The number of lanes is part of the type: it is taken from
the length of a tuple (`lanes = (0,) * 8`), because numba knows a tuple's length when it compiles.
No bounds are checked here.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

_FLOAT = ir.FloatType()
_INT32 = ir.IntType(32)
_PER_LOG2 = 1.4426950408889634
# Least relative error of 2^f on [-1/2, 1/2], 7.5e-8; highest power first
EXP2_POLYNOMIAL = (
    0.0013276471992851953, 0.009675541334449414, 0.05550713273496898,
    0.24022119723840105, 0.6931469670647613, 1.0000000716546849,
)  # fmt: skip


class Vector(types.Type):
    """Numba type of a float32 vector of a fixed number of lanes."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(_FLOAT, vector.lanes))


def _constant(lanes: int, value: float) -> ir.Constant:
    return ir.Constant(ir.VectorType(_FLOAT, lanes), [ir.Constant(_FLOAT, value)] * lanes)


def _call(builder: Any, name: str, result: Any, arguments: list[Any], **keywords: Any) -> Any:
    signature_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, signature_type, name)
    return builder.call(function, arguments, **keywords)


def _row_pointer(context: Any, builder: Any, array_type: Any, array: Any, row: Any, lanes: int) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(row, ir.Constant(row.type, lanes))
    address = builder.gep(data, [offset], source_etype=_FLOAT)
    return builder.bitcast(address, ir.VectorType(_FLOAT, lanes).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def load(typing_context: Any, array: Any, row: Any, lanes: Any) -> Any:
    """Vector number `row` of a C-contiguous float32 array."""
    count = len(lanes)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        pointer = _row_pointer(context, builder, sig.args[0], arguments[0], arguments[1], count)
        return builder.load(pointer, align=4, typ=ir.VectorType(_FLOAT, count))

    return Vector(count)(array, row, lanes), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(typing_context: Any, array: Any, row: Any, vector: Any) -> Any:
    """Write a vector to place `row` of a C-contiguous float32 array."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        lanes = sig.args[2].lanes
        pointer = _row_pointer(context, builder, sig.args[0], arguments[0], arguments[1], lanes)
        builder.store(arguments[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, row, vector), generate


@intrinsic  # type: ignore[untyped-decorator]
def broadcast(typing_context: Any, value: Any, lanes: Any) -> Any:
    """The same float32 in every lane."""
    count = len(lanes)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        kind = ir.VectorType(_FLOAT, count)
        single = builder.insert_element(ir.Constant(kind, ir.Undefined), arguments[0], ir.Constant(_INT32, 0))
        zeros = ir.Constant(ir.VectorType(_INT32, count), None)
        return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), zeros)

    return Vector(count)(types.float32, lanes), generate


@intrinsic  # type: ignore[untyped-decorator]
def fused_multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """A * b + c, lane by lane."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _call(builder, f"llvm.fma.v{sig.args[0].lanes}f32", arguments[0].type, list(arguments))

    return a(a, b, c), generate


def _over_groups(builder: Any, vector: Any, group: int, combine: Any) -> Any:
    """Combine the lanes of each group; every lane gets its group's result.

    Groups of a power of two are combined by exchanging halves, then quarters, and so on; a group
    that is a whole vector of another length is folded into its first lanes.
    """
    lanes = vector.type.count
    undefined = ir.Constant(vector.type, ir.Undefined)

    def exchange(values: Any, sources: list[int]) -> Any:
        mask = ir.Constant(ir.VectorType(_INT32, lanes), [ir.Constant(_INT32, lane) for lane in sources])
        return builder.shuffle_vector(values, undefined, mask)

    if group & (group - 1) == 0:
        step = group // 2
        while step:
            vector = combine(vector, exchange(vector, [lane ^ step for lane in range(lanes)]))
            step //= 2
        return vector
    # Lanes of 16, 3 or 5 or more times: fold them onto the first 16.
    folded = vector
    for start in range(16, lanes, 16):
        folded = combine(folded, exchange(vector, [(lane + start) % lanes for lane in range(lanes)]))
    step = 8
    while step:
        folded = combine(
            folded, exchange(folded, [(lane ^ step) if lane < 16 else lane for lane in range(lanes)])
        )
        step //= 2
    return exchange(folded, [0] * lanes)


@intrinsic  # type: ignore[untyped-decorator]
def largest(typing_context: Any, vector: Any, group: Any) -> Any:
    """In every lane the largest of its group of `len(group)` lanes; no lane may be NaN."""
    count = len(group)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        def combine(one: Any, two: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", one, two), one, two)

        return _over_groups(builder, arguments[0], count, combine)

    return vector(vector, group), generate


@intrinsic  # type: ignore[untyped-decorator]
def total(typing_context: Any, vector: Any, group: Any) -> Any:
    """In every lane the sum of its group of `len(group)` lanes."""
    count = len(group)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _over_groups(builder, arguments[0], count, builder.fadd)

    return vector(vector, group), generate


@intrinsic  # type: ignore[untyped-decorator]
def nearest(typing_context: Any, vector: Any) -> Any:
    """The nearest whole number, lane by lane; of two the even one."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _call(builder, f"llvm.roundeven.v{sig.args[0].lanes}f32", arguments[0].type, list(arguments))

    return vector(vector), generate


def _choice(operator_text: str) -> Any:
    def typing(typing_context: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            one, other, chosen, otherwise = arguments
            return builder.select(builder.fcmp_ordered(operator_text, one, other), chosen, otherwise)

        return a(a, b, x, y), generate

    return typing


@intrinsic  # type: ignore[untyped-decorator]
def where_less(typing_context: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    """X where a < b, else y, lane by lane."""
    return _choice("<")(typing_context, a, b, x, y)


@intrinsic  # type: ignore[untyped-decorator]
def where_equal(typing_context: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    """X where a == b, else y, lane by lane."""
    return _choice("==")(typing_context, a, b, x, y)


@intrinsic  # type: ignore[untyped-decorator]
def reciprocal(typing_context: Any, vector: Any) -> Any:
    """1 / x, lane by lane."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return builder.fdiv(_constant(sig.args[0].lanes, 1.0), arguments[0])

    return vector(vector), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_first_equal(
    typing_context: Any, places: Any, start: Any, vector: Any, wanted: Any, group: Any
) -> Any:
    """Write a byte a group of lanes to places[start], ...: its first lane that equals `wanted`; one must."""
    count = len(group)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        array, first, values, other, _ = arguments
        lanes = sig.args[2].lanes
        data = context.make_array(sig.args[0])(context, builder, array).data
        mask = builder.bitcast(builder.fcmp_ordered("==", values, other), ir.IntType(lanes))
        for number in range(lanes // count):
            shifted = builder.lshr(mask, ir.Constant(mask.type, number * count))
            position = builder.cttz(shifted, ir.Constant(ir.IntType(1), 1))
            byte = builder.zext(position, ir.IntType(8)) if lanes < 8 else position
            byte = builder.trunc(byte, ir.IntType(8)) if lanes > 8 else byte
            place = builder.add(first, ir.Constant(first.type, number))
            builder.store(byte, builder.gep(data, [place], source_etype=ir.IntType(8)))
        return context.get_dummy_value()

    return types.void(places, start, vector, wanted, group), generate


@intrinsic  # type: ignore[untyped-decorator]
def exponential(typing_context: Any, vector: Any) -> Any:
    """exp(x) of lanes x <= 0 to a relative error of 3e-7 near 0 and 1e-5 at -80; exp(-80) below.

    exp(x) = 2^n 2^f with n = round(x / log 2). Adding 1.5 * 2^23 rounds to an integer and leaves it in the
    lowest bits, from where it is shifted into the exponent. 2^f, |f| <= 1/2, is the polynomial of degree 5
    that a Remez exchange gives.
    """

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        (x,) = arguments
        lanes, kind = sig.args[0].lanes, arguments[0].type
        integers = ir.VectorType(_INT32, lanes)

        def fma(a: Any, b: Any, c: Any) -> Any:
            return _call(builder, f"llvm.fma.v{lanes}f32", kind, [a, b, c])

        floor = _constant(lanes, -80.0)
        x = builder.select(builder.fcmp_ordered(">", x, floor), x, floor)
        per_log2, rounding = _constant(lanes, _PER_LOG2), _constant(lanes, 12582912.0)
        shifted = fma(x, per_log2, rounding)
        fraction = fma(x, per_log2, builder.fneg(builder.fsub(shifted, rounding)))
        value = _constant(lanes, EXP2_POLYNOMIAL[0])
        for coefficient in EXP2_POLYNOMIAL[1:]:
            value = fma(value, fraction, _constant(lanes, coefficient))
        places = ir.Constant(integers, [ir.Constant(_INT32, 23)] * lanes)
        exponent = builder.shl(builder.bitcast(shifted, integers), places)
        return builder.bitcast(builder.add(builder.bitcast(value, integers), exponent), kind)

    return vector(vector), generate


class _Arithmetic(AbstractTemplate):  # type: ignore[misc]
    def generic(self, arguments: Any, keywords: Any) -> Any:
        first, second = arguments
        if isinstance(first, Vector) and first == second:
            return signature(first, first, second)
        return None


@infer_global(operator.add)
class _Add(_Arithmetic):
    key = operator.add


@infer_global(operator.sub)
class _Subtract(_Arithmetic):
    key = operator.sub


@infer_global(operator.mul)
class _Multiply(_Arithmetic):
    key = operator.mul


@lower_builtin(operator.add, Vector, Vector)  # type: ignore[untyped-decorator]
def _lower_add(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    return builder.fadd(*arguments)


@lower_builtin(operator.sub, Vector, Vector)  # type: ignore[untyped-decorator]
def _lower_subtract(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    return builder.fsub(*arguments)


@lower_builtin(operator.mul, Vector, Vector)  # type: ignore[untyped-decorator]
def _lower_multiply(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    return builder.fmul(*arguments)
