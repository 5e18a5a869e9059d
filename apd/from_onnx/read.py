"""From a file to a checked ONNX graph of one input and one output."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError
from onnx import inliner

from apd.errors import TargetError
from apd.files import reason

OLDEST_OPSET = 13
OWN_DOMAINS = ("", "ai.onnx")


class Source(NamedTuple):
    """A checked file.

    Attributes:
        graph: its graph, nodes in execution order, functions of the file's own written out.
        opset: the version of ONNX's operators it is written in.
        input: the one input that has no value in the file; its first axis is free.
        output: the name of the one output.
    """

    graph: onnx.GraphProto
    opset: int
    input: onnx.ValueInfoProto
    output: str


def read(path: Path) -> Source:
    """Read a file and the files it keeps its weights in.

    Raises:
        TargetError: it is missing, damaged, too old, or no network of one input and one output
            with a free batch axis.
    """
    model = inliner.inline_local_functions(whole(path))
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    outputs = [value.name for value in model.graph.output]
    if len(inputs) != 1 or len(outputs) != 1:
        raise TargetError(
            f"{path} has the inputs {', '.join(value.name for value in inputs) or '(none)'} and "
            f"the outputs {', '.join(outputs)}; one of each is supported"
        )
    check_batch(path, inputs[0])
    return Source(model.graph, opset_of(path, model), inputs[0], outputs[0])


def whole(path: Path) -> onnx.ModelProto:
    """The file with its weights, found valid.

    Raises:
        TargetError: it is missing or damaged, or a file of its weights is.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {reason(error)}") from error
    except DecodeError as error:
        raise TargetError(f"{path} is not an ONNX file, or is truncated") from error
    if not model.HasField("graph"):
        raise TargetError(f"{path} is not an ONNX file: it holds no graph")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise TargetError(
            f"{path} keeps weights in another file, which is missing or damaged: {first(error)}"
        ) from error
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise TargetError(f"{path} is not a valid ONNX file: {first(error)}") from error
    return model


def opset_of(path: Path, model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators.

    Raises:
        TargetError: operators meant something else then.
    """
    versions = [o.version for o in model.opset_import if o.domain in OWN_DOMAINS]
    opset = max(versions, default=0)
    if opset < OLDEST_OPSET:
        raise TargetError(
            f"{path} is written in ONNX opset {opset}; {OLDEST_OPSET} and later are supported, "
            f"so export it again or use onnx.version_converter"
        )
    return opset


def check_batch(path: Path, value: onnx.ValueInfoProto) -> None:
    """Refuse a file made for one number of inputs.

    Raises:
        TargetError: with how to export it.
    """
    axes = value.type.tensor_type.shape.dim
    if not axes:
        raise TargetError(f"{path} does not say that its input {value.name} is a batch of inputs")
    if axes[0].HasField("dim_value"):
        raise TargetError(
            f"{path} was exported for a batch of exactly {axes[0].dim_value}; export it with the "
            "first axis free (dynamic_shapes, or dynamic_axes, of torch.onnx.export)"
        )


def first(error: Exception) -> str:
    """The first line of a message."""
    return str(error).strip().partition("\n")[0].rstrip(".")
