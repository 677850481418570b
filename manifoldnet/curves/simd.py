"""Vectors of eight numbers inside numba kernels.

numba leaves vectorising to LLVM, which gives up on sums whose length varies. With a type for eight lanes the
kernel says itself what stays in registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 8


class Vector(types.Type):
    """Eight float32 or float64."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        element = ir.FloatType() if fe_type.dtype == types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(element, LANES))


def _address(context: Any, builder: Any, signature: Any, args: Any, vector: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.bitcast(builder.gep(data, [args[1]]), vector.as_pointer())


@intrinsic
def load(typingctx: Any, array: Any, place: Any) -> Any:
    """Elements place..place + 7 of a flat, contiguous array; no check of the range."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = context.get_value_type(signature.return_type)
        value = builder.load(_address(context, builder, signature, args, vector))
        value.align = array.dtype.bitwidth // 8
        return value

    return Vector(array.dtype)(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, place: Any, value: Any) -> Any:
    """Write elements place..place + 7 of a flat, contiguous array; no check of the range."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> None:
        vector = context.get_value_type(signature.args[2])
        builder.store(args[2], _address(context, builder, signature, args, vector), align=array.dtype.bitwidth // 8)

    return types.void(array, types.intp, value), codegen


@intrinsic
def broadcast(typingctx: Any, number: Any) -> Any:
    """The number in all lanes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = context.get_value_type(signature.return_type)
        index = ir.IntType(32)
        undefined = ir.Constant(vector, ir.Undefined)
        single = builder.insert_element(undefined, args[0], ir.Constant(index, 0))
        return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(index, LANES), [0] * LANES))

    return Vector(number)(number), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c with one rounding, so that it does not depend on what the compiler chooses to contract."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = context.get_value_type(signature.return_type)
        name = f"llvm.fma.v{LANES}{vector.element.intrinsic_name}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        return builder.call(function, args)

    return a(a, b, c), codegen


@intrinsic
def mul(typingctx: Any, a: Any, b: Any) -> Any:
    """a b."""
    return a(a, b), lambda context, builder, signature, args: builder.fmul(*args)


@intrinsic
def add(typingctx: Any, a: Any, b: Any) -> Any:
    """a + b."""
    return a(a, b), lambda context, builder, signature, args: builder.fadd(*args)


@intrinsic
def maximum(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger one; a where b is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[1], args[0]), args[1], args[0])

    return a(a, b), codegen
