"""The target as data: a list of ATen calls, saved as JSON, run without anybody's code.

A run directory has to rebuild the target it describes, and nothing in it may be able to execute
code. So a target is kept as the operators it calls, and `allowed_operator` knows only ATen's core
set (what is random or writes to its arguments left out), a few composites of it, integer arithmetic
on shapes, and linear layers, convolutions and attention in a form that rounds every row alike.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, model_serializer
from torch import Tensor

from apd.attention import attention, matmul
from apd.convolution import convolution
from apd.errors import TargetError
from apd.lookups import embedding, index, one_hot
from apd.products import linear

COMPOSITES = frozenset(
    f"aten.{name}"
    for name in (
        # products and normalisations
        *("einsum.default", "tensordot.default", "inner.default", "outer.default", "mv.default"),
        *("dot.default", "cosine_similarity.default", "layer_norm.default", "group_norm.default"),
        *("instance_norm.default", "rms_norm.default"),
        # pooling and resampling
        *("max_pool1d.default", "max_pool2d.default", "avg_pool2d.default", "im2col.default"),
        *("adaptive_avg_pool2d.default", "adaptive_max_pool1d.default"),
        *("adaptive_max_pool2d.default", "upsample_nearest1d.vec", "pad.default"),
        *("pixel_shuffle.default", "pixel_unshuffle.default", "channel_shuffle.default"),
        # shapes
        *("transpose.int", "numpy_T.default", "t.default", "flatten.using_ints", "unflatten.int"),
        *("reshape.default", "stack.default", "hstack.default", "vstack.default"),
        *("concatenate.default", "chunk.default", "split.Tensor", "unsafe_split.Tensor"),
        *("unbind.int", "expand_as.default", "tile.default", "roll.default", "unfold.default"),
        *("squeeze.default", "repeat_interleave.self_int", "take_along_dim.default"),
        *("contiguous.default", "type_as.default", "diag_embed.default"),
        # constants
        *("arange.default", "arange.start", "zeros.default", "ones.default", "eye.default"),
        *("zeros_like.default", "ones_like.default", "new_zeros.default", "new_ones.default"),
        *("new_full.default", "linspace.default", "fill.Tensor"),
        # number by number
        *("softmax.int", "log_softmax.int", "silu.default", "softplus.default", "mish.default"),
        *("selu.default", "celu.default", "prelu.default", "hardswish.default", "glu.default"),
        *("hardsigmoid.default", "log_sigmoid.default", "relu6.default", "threshold.default"),
        *("clamp_min.default", "clip.default", "rsub.Scalar", "floor_divide.default"),
        *("square.default", "exp2.default", "addcmul.default", "addcdiv.default"),
        *("lerp.Scalar", "nan_to_num.default", "masked_fill.Scalar", "masked_fill.Tensor"),
        *("tril.default", "triu.default", "where.ScalarOther", "where.ScalarSelf"),
        *("__and__.Tensor", "__or__.Tensor", "__xor__.Tensor"),
        # sums and the like
        *("sum.default", "std.dim", "var_mean.dim", "max.default", "all.dim", "diff.default"),
        *("logsumexp.default", "cumprod.default", "linalg_vector_norm.default"),
    )
)

ROW_BY_ROW: dict[str, Callable[..., Any]] = {
    "aten.linear.default": linear,
    "aten.matmul.default": matmul,
    "aten.mm.default": matmul,
    "aten.bmm.default": matmul,
    "aten.conv1d.default": convolution,
    "aten.conv1d.padding": convolution,
    "aten.conv2d.default": convolution,
    "aten.conv2d.padding": convolution,
}

# the same as the library's: a view of what has gaps here, attention with batched gradients, lookups
# that say of an unknown number that it is one; but no gradient is stopped, as outputs depend on
# what is before it all the same
OWN: dict[str, Callable[..., Any]] = {
    "aten.detach.default": torch.clone,
    "aten.view.default": torch.reshape,
    "aten._unsafe_view.default": torch.reshape,
    "aten.scaled_dot_product_attention.default": attention,
    "aten.embedding.default": embedding,
    "aten.index.Tensor": index,
    "aten.one_hot.default": one_hot,
}

SHAPE_ARITHMETIC: dict[str, Callable[..., Any]] = {
    f"operator.{f.__name__}": f
    for f in (operator.add, operator.sub, operator.mul, operator.floordiv, operator.getitem)
}

CONSTANTS: dict[str, Any] = {
    str(value): value
    for value in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
        *(torch.strided, torch.contiguous_format, torch.preserve_format, torch.channels_last),
    )
}

Handler = Callable[..., Tensor]


class Node(BaseModel):
    """One call, `name = op(*args, **kwargs)`; `{"node": name}` stands for an earlier value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    op: str
    args: list[Any]
    kwargs: dict[str, Any]


class Part(BaseModel):
    """One of several named inputs: its shape for one input, and its type by name in `CONSTANTS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: tuple[int, ...]
    dtype: str


class Graph(BaseModel):
    """A pure function of one input and named tensors, as a list of calls in execution order.

    Attributes:
        input: the name under which the calls refer to the batch of inputs.
        input_shape: the shape of one input.
        input_dtype: the inputs' type, by its name in `CONSTANTS`.
        parts: the named inputs that one input holds in a row (`apd.inputs`); none where it is one.
        tensors: the name by which the calls refer to a parameter or buffer -> its dotted name.
        nodes: the calls, in order.
        output: the name of the value that is returned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    input_shape: tuple[int, ...]
    input_dtype: str
    parts: tuple[Part, ...] = ()
    tensors: dict[str, str]
    nodes: list[Node]
    output: str

    @model_serializer(mode="wrap")
    def _without_parts(self, serialise: Callable[[Graph], dict[str, Any]]) -> dict[str, Any]:
        """Left out where there are none, as in graphs of earlier versions."""
        return {k: v for k, v in serialise(self).items() if k != "parts" or self.parts}

    def run(
        self, state: Mapping[str, Tensor], x: Tensor, handlers: Mapping[str, Handler]
    ) -> Tensor:
        """Evaluate the graph on a batch.

        Args:
            state: the tensors by dotted name.
            x: inputs [n, ...].
            handlers: node name -> what to call in its operator's place, with the operator and its
                arguments.

        Returns:
            The value named `output`, [n, ...].
        """
        values: dict[str, Any] = {name: state[dotted] for name, dotted in self.tensors.items()}
        values[self.input] = x
        for node in self.nodes:
            args = [decode(arg, values, x.device) for arg in node.args]
            kwargs = {k: decode(arg, values, x.device) for k, arg in node.kwargs.items()}
            call = operator_named(node.op)
            if node.name in handlers:
                call = functools.partial(handlers[node.name], call)
            values[node.name] = call(*args, **kwargs)
        return values[self.output]


@functools.cache
def allowed_operator(op: str) -> Callable[..., Any] | None:
    """The operator of that name, or None where a saved graph may not call it."""
    own = {**SHAPE_ARITHMETIC, **ROW_BY_ROW, **OWN}
    if op in own:
        return own[op]
    namespace, _, rest = op.partition(".")
    name, _, overload = rest.partition(".")
    if namespace != "aten" or not name.isidentifier() or not overload.isidentifier():
        return None
    found: Any = getattr(getattr(torch.ops.aten, name, None), overload, None)
    tags: list[torch.Tag] = getattr(found, "tags", [])
    if torch.Tag.core not in tags or torch.Tag.nondeterministic_seeded in tags:
        return found if op in COMPOSITES else None
    return None if found._schema.is_mutable else found


def operator_named(op: str) -> Callable[..., Any]:
    """Look up an operator.

    Raises:
        TargetError: it is not one a saved graph may call.
    """
    found = allowed_operator(op)
    if found is None:
        raise TargetError(f"the target calls {op}, which is not supported")
    return found


def decode(arg: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    """The value a JSON argument stands for: earlier values, constants, and lists of them."""
    if isinstance(arg, list):
        return [decode(item, values, device) for item in arg]
    if not isinstance(arg, dict):
        return arg
    ((tag, value),) = arg.items()
    match tag:
        case "node":
            return values[value]
        case "constant":
            return CONSTANTS[value]
        case "number":
            return float(value)
        case "device":
            return device
        case _:
            raise TargetError(f"argument {arg!r} of a saved graph is not understood")


def names_in(arg: Any) -> list[str]:
    """Every earlier value a JSON argument refers to."""
    if isinstance(arg, list):
        return [name for item in arg for name in names_in(item)]
    return [arg["node"]] if isinstance(arg, dict) and "node" in arg else []
