"""Every operator that can be imported, in a file of its own, against onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from apd.from_onnx import OPERATORS, load_onnx
from apd.from_onnx.module import Call
from apd.from_onnx.operators import KNOWN

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


# operators -> (shape of one input, what is called, constants); y is the output
CASES = {
    "Gemm": ("5", "y = Gemm (x, w, b)", {"w": draw(5, 4), "b": draw(4)}),
    "Gemm turned": ("5", "y = Gemm <transB = 1> (x, w)", {"w": draw(4, 5)}),
    "Gemm scaled": (
        "5",
        "y = Gemm <alpha = 0.5, beta = -2.0> (x, w, b)",
        {"w": draw(5, 4), "b": draw(1, 4)},
    ),
    "MatMul": ("6, 5", "y = MatMul (x, w)", {"w": draw(5, 4)}),
    "MatMul on the left": ("6, 5", "y = MatMul (w, x)", {"w": draw(3, 6)}),
    "MatMul of two": ("6, 5", "t = Transpose <perm = [0, 2, 1]> (x) y = MatMul (x, t)", {}),
    "Einsum": ("6, 5", 'y = Einsum <equation = "nij,nkj->nik"> (x, x)', {}),
    "Gather": ("6, 5", "y = Gather <axis = 2> (x, i)", {"i": whole(4, -5, 0)}),
    "Gather one": ("6, 5", "y = Gather <axis = 1> (x, i)", {"i": np.array(-2)}),
    "Conv 1d": (
        "6, 9",
        "y = Conv <strides = [2], pads = [1, 2], group = 2> (x, w, b)",
        {"w": draw(4, 3, 3), "b": draw(4)},
    ),
    "Conv 2d": (
        "2, 7, 8",
        "y = Conv <dilations = [1, 2], pads = [1, 2, 1, 2]> (x, w)",
        {"w": draw(5, 2, 3, 3)},
    ),
    "Conv same upper": (
        "2, 7, 8",
        'y = Conv <auto_pad = "SAME_UPPER", strides = [2, 3]> (x, w)',
        {"w": draw(5, 2, 4, 2)},
    ),
    "Conv same lower": (
        "2, 7, 8",
        'y = Conv <auto_pad = "SAME_LOWER"> (x, w)',
        {"w": draw(5, 2, 4, 2)},
    ),
    "MaxPool": (
        "2, 7, 8",
        "y = MaxPool <kernel_shape = [3, 2], strides = [2, 2], pads = [0, 1, 1, 0]> (x)",
        {},
    ),
    "MaxPool 1d": (
        "3, 9",
        "y = MaxPool <kernel_shape = [3], ceil_mode = 1, strides = [2]> (x)",
        {},
    ),
    "AveragePool": (
        "2, 7, 8",
        "y = AveragePool <kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 0]> (x)",
        {},
    ),
    "AveragePool counting": (
        "3, 9",
        "y = AveragePool <kernel_shape = [3], pads = [1, 0], count_include_pad = 1> (x)",
        {},
    ),
    "GlobalAveragePool": ("3, 4, 5", "y = GlobalAveragePool (x)", {}),
    "GlobalMaxPool": ("3, 4, 5", "y = GlobalMaxPool (x)", {}),
    "BatchNormalization": (
        "3, 4",
        "y = BatchNormalization <epsilon = 0.01> (x, s, b, m, v)",
        {"s": draw(3), "b": draw(3), "m": draw(3), "v": draw(3) ** 2},
    ),
    "LayerNormalization": (
        "3, 4",
        "y = LayerNormalization <axis = -2, epsilon = 0.01> (x, s, b)",
        {"s": draw(3, 4), "b": draw(3, 4)},
    ),
    "InstanceNormalization": (
        "3, 4",
        "y = InstanceNormalization <epsilon = 0.01> (x, s, b)",
        {"s": draw(3), "b": draw(3)},
    ),
    "GroupNormalization": (
        "6, 4",
        "y = GroupNormalization <num_groups = 2, epsilon = 0.01> (x, s, b)",
        {"s": draw(6), "b": draw(6)},
    ),
    "Relu": ("5", "y = Relu (x)", {}),
    "Sigmoid": ("5", "y = Sigmoid (x)", {}),
    "Tanh": ("5", "y = Tanh (x)", {}),
    "Erf": ("5", "y = Erf (x)", {}),
    "HardSwish": ("5", "y = HardSwish (x)", {}),
    "Mish": ("5", "y = Mish (x)", {}),
    "Softplus": ("5", "y = Softplus (x)", {}),
    "Softsign": ("5", "y = Softsign (x)", {}),
    "LeakyRelu": ("5", "y = LeakyRelu <alpha = 0.3> (x)", {}),
    "PRelu": ("3, 5", "y = PRelu (x, s)", {"s": draw(3, 1)}),
    "Elu": ("5", "y = Elu <alpha = 0.7> (x)", {}),
    "Selu": ("5", "y = Selu <alpha = 0.7, gamma = 1.3> (x)", {}),
    "Celu": ("5", "y = Celu <alpha = 0.7> (x)", {}),
    "Gelu": ("5", "y = Gelu (x)", {}),
    "Gelu by tanh": ("5", 'y = Gelu <approximate = "tanh"> (x)', {}),
    "Swish": ("5", "y = Swish <alpha = 1.7> (x)", {}),
    "HardSigmoid": ("5", "y = HardSigmoid <alpha = 0.4, beta = 0.3> (x)", {}),
    "Clip, either bound left out": ("5", "y = Clip (x)", {}),
    "Clip": ("5", "y = Clip (x, a, b)", {"a": number(-0.5), "b": number(0.3)}),
    "Clip above": ("5", 'y = Clip (x, "", b)', {"b": number(0.3)}),
    "Softmax": ("3, 5", "y = Softmax <axis = 1> (x)", {}),
    "LogSoftmax": ("3, 5", "y = LogSoftmax (x)", {}),
    "Abs": ("5", "y = Abs (x)", {}),
    "Neg": ("5", "y = Neg (x)", {}),
    "Sqrt": ("5", "a = Abs (x) y = Sqrt (a)", {}),
    "Reciprocal": ("5", "y = Reciprocal (x)", {}),
    "Exp": ("5", "y = Exp (x)", {}),
    "Log": ("5", "a = Abs (x) y = Log (a)", {}),
    "Sin": ("5", "y = Sin (x)", {}),
    "Cos": ("5", "y = Cos (x)", {}),
    "Floor": ("5", "y = Floor (x)", {}),
    "Ceil": ("5", "y = Ceil (x)", {}),
    "Round": ("5", "y = Round (x)", {}),
    "Sign": ("5", "y = Sign (x)", {}),
    "Add": ("3, 5", "y = Add (a, x)", {"a": draw(3, 1)}),
    "Sub": ("5", "y = Sub (a, x)", {"a": number(0.7)}),
    "Mul": ("5", "y = Mul (x, a)", {"a": number(0.7)}),
    "Div": ("5", "y = Div (x, a)", {"a": number(0.7)}),
    "Div of integers": (
        "5",
        "k = Cast <to = 7> (x) q = Div (k, a) y = Cast <to = 1> (q)",
        {"a": whole(1, 2, -1, -2, 3)},
    ),
    "Mod": (
        "5",
        "k = Cast <to = 7> (x) q = Mod (k, a) y = Cast <to = 1> (q)",
        {"a": whole(1, 2, -1, -2, 3)},
    ),
    "Mod of floats": ("5", "y = Mod <fmod = 1> (x, a)", {"a": draw(5)}),
    "Pow": ("5", "y = Pow (x, a)", {"a": number(2)}),
    "Max": ("5", "z = Neg (x) y = Max (x, z, a)", {"a": number(0.3)}),
    "Min": ("5", "y = Min (x, a)", {"a": draw(5)}),
    "Sum": ("5", "y = Sum (x, a, x)", {"a": draw(5)}),
    "Equal": ("5", "f = Floor (x) e = Equal (f, a) y = Cast <to = 1> (e)", {"a": number(0)}),
    "Greater": ("5", "e = Greater (x, a) y = Cast <to = 1> (e)", {"a": number(0.1)}),
    "GreaterOrEqual": ("5", "e = GreaterOrEqual (x, a) y = Cast <to = 1> (e)", {"a": draw(5)}),
    "Less": ("5", "e = Less (a, x) y = Cast <to = 1> (e)", {"a": number(0.1)}),
    "LessOrEqual": ("5", "e = LessOrEqual (x, a) y = Cast <to = 1> (e)", {"a": draw(5)}),
    "Not": ("5", "e = Greater (x, a) f = Not (e) y = Cast <to = 1> (f)", {"a": number(0)}),
    "And": (
        "5",
        "e = Greater (x, a) f = Less (x, b) g = And (e, f) y = Cast <to = 1> (g)",
        {"a": number(-0.5), "b": number(0.5)},
    ),
    "Or": (
        "5",
        "e = Less (x, a) f = Greater (x, b) g = Or (e, f) y = Cast <to = 1> (g)",
        {"a": number(-0.5), "b": number(0.5)},
    ),
    "And of a constant": (
        "5",
        "e = Greater (x, a) g = And (e, b) y = Cast <to = 1> (g)",
        {"a": number(0), "b": np.array(True)},
    ),
    "Or of a constant": (
        "5",
        "e = Greater (x, a) g = Or (e, b) y = Cast <to = 1> (g)",
        {"a": number(0), "b": np.array(False)},
    ),
    "Where": ("5", "e = Greater (x, a) y = Where (e, x, a)", {"a": number(0.1)}),
    "Cast": ("5", "k = Cast <to = 7> (x) y = Cast <to = 1> (k)", {}),
    "ReduceMean": ("3, 4", "y = ReduceMean <keepdims = 0> (x, a)", {"a": whole(1, -1)}),
    "ReduceSum": ("3, 4", "y = ReduceSum (x, a)", {"a": whole(2)}),
    "ReduceSum of none": ("3, 4", "y = ReduceSum <noop_with_empty_axes = 1> (x)", {}),
    "ReduceMax": ("3, 4", "y = ReduceMax <keepdims = 0> (x, a)", {"a": whole(1)}),
    "ReduceMin": ("3, 4", "y = ReduceMin (x)", {}),
    "ReduceProd": ("3, 4", "y = ReduceProd <keepdims = 0> (x, a)", {"a": whole(-2, 2)}),
    "ReduceL1": ("3, 4", "y = ReduceL1 (x, a)", {"a": whole(1)}),
    "ReduceL2": ("3, 4", "y = ReduceL2 <keepdims = 0> (x, a)", {"a": whole(1, 2)}),
    "ReduceSumSquare": ("3, 4", "y = ReduceSumSquare (x, a)", {"a": whole(2)}),
    "ReduceLogSumExp": ("3, 4", "y = ReduceLogSumExp <keepdims = 0> (x, a)", {"a": whole(1)}),
    "Identity": ("5", "i = Identity (x) y = Neg (i)", {}),
    "Dropout": ("5", "d, m = Dropout (x, r) y = Neg (d)", {"r": number(0.4)}),
    "Reshape": ("3, 4", "y = Reshape (x, s)", {"s": whole(0, -1, 2)}),
    "Flatten": ("3, 4", "y = Flatten (x)", {}),
    "Flatten a vector": (
        "3",
        "s = ReduceSum <keepdims = 0> (x, a) y = Flatten (s)",
        {"a": whole(1)},
    ),
    "Flatten further": ("3, 4", "y = Flatten <axis = 2> (x)", {}),
    "Transpose": ("3, 4", "y = Transpose <perm = [0, 2, 1]> (x)", {}),
    "Squeeze": ("1, 4", "y = Squeeze (x, a)", {"a": whole(1)}),
    "Squeeze all": ("1, 4", "y = Squeeze (x)", {}),
    "Unsqueeze": ("3, 4", "y = Unsqueeze (x, a)", {"a": whole(-1, 1)}),
    "Concat": ("3, 4", "y = Concat <axis = 2> (x, x)", {}),
    "Slice": (
        "6, 7",
        "y = Slice (x, a, b, c, d)",
        {"a": whole(-5, 1), "b": whole(5, 2**62), "c": whole(2, 1), "d": whole(2, 1)},
    ),
    "Split": ("3, 7", "y, z = Split <axis = 2> (x, s)", {"s": whole(3, 4)}),
    "Split evenly": ("3, 7", "z, y = Split <axis = 2, num_outputs = 2> (x)", {}),
    "Expand": ("1, 4", "y = Expand (x, s)", {"s": whole(3, 1)}),
    "Tile": ("3, 4", "y = Tile (x, r)", {"r": whole(1, 2, 3)}),
    "Pad": (
        "3, 4",
        "y = Pad (x, p, v, a)",
        {"p": whole(1, 0, 2, 3), "v": number(0.5), "a": whole(-1, 1)},
    ),
    "Trilu": ("4, 4", "y = Trilu <upper = 0> (x, k)", {"k": np.array(-1)}),
    "Shape": ("3, 2", "s = Shape <start = 1> (x) f = Cast <to = 1> (s) y = Add (x, f)", {}),
    "Size": (
        "4",
        "s = Shape <start = 1> (x) k = Size (s) f = Cast <to = 1> (k) y = Mul (x, f)",
        {},
    ),
    "ConstantOfShape": ("4", "s = Shape (x) z = ConstantOfShape (s) y = Add (x, z)", {}),
    "Range": (
        "4",
        "s = Shape (x) k = Gather (s, o) r = Range (z, k, o) f = Cast <to = 1> (r) y = Add (x, f)",
        {"o": np.array(1), "z": np.array(0)},
    ),
}


def file_of(path, shape: str, body: str, constants: dict[str, np.ndarray], opset: int = 24):
    """An .onnx file with a free batch axis."""
    header = f'<ir_version: 10, opset_import: ["": {opset}]>'
    model = parser.parse_model(f"{header} g (float[n, {shape}] x) => (float[m] y) {{ {body} }}")
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    sample = np.ones((2, *map(int, shape.split(","))), np.float32)
    (y,) = ReferenceEvaluator(model).run(None, {"x": sample})
    axes = [f"axis_{i}" for i in range(y.ndim)]
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, axes))
    onnx.save(model, path)
    return path


def by_onnxruntime(path, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


@pytest.mark.parametrize("case", CASES)
def test_an_operator_computes_what_onnxruntime_computes(case, tmp_path):
    shape, body, constants = CASES[case]
    path = file_of(tmp_path / "model.onnx", shape, body, constants)
    module = load_onnx(path)
    for n in (3, 5):
        x = 2 * draw(n, *map(int, shape.split(",")))
        expected, got = by_onnxruntime(path, x), module(torch.tensor(x)).detach().numpy()
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_what_is_masked_adds_nothing_to_a_sum_of_exponentials(tmp_path):
    body, axes = "y = ReduceLogSumExp <keepdims = 0> (x, a)", {"a": whole(2)}
    module = load_onnx(file_of(tmp_path / "model.onnx", "3, 4", body, axes))
    x = draw(2, 3, 4)
    x[0, 1, 2] = x[1, 2] = -np.inf
    expected = np.logaddexp.reduce(x, 2)
    assert np.isneginf(expected[1, 2])
    np.testing.assert_allclose(module(torch.tensor(x)).numpy(), expected, rtol=1e-5)


def test_every_operator_has_a_case():
    called = {word for _, body, _ in CASES.values() for word in body.split()}
    assert set(OPERATORS) <= called


# operators on arrays -> (arrays, attributes)
ON_ARRAYS = {
    "Add": ([whole(2, 3), whole(4)], {}),
    "Sub": ([whole(2, 3), whole(4)], {}),
    "Mul": ([whole(2, 3), whole(4)], {}),
    "Div": ([whole(9, 7), whole(4)], {}),
    "Mod": ([whole(9, 7), whole(4)], {}),
    "Neg": ([whole(9, -7)], {}),
    "Sqrt": ([draw(3) ** 2], {}),
    "Equal": ([whole(2, 3), whole(3)], {}),
    "Greater": ([whole(2, 3), whole(2)], {}),
    "Less": ([whole(2, 3), whole(3)], {}),
    "Not": ([np.array([True, False])], {}),
    "And": ([np.array([True, False]), np.array([True, True])], {}),
    "Min": ([whole(2, 3), whole(3, 1)], {}),
    "Max": ([whole(2, 3), whole(3, 1)], {}),
    "Where": ([np.array([True, False]), whole(2, 3), whole(4, 5)], {}),
    "Cast": ([whole(2, 3)], {"to": 1}),
    "Identity": ([whole(2, 3)], {}),
    "Gather": ([whole(2, 3, 4), whole(2, 0)], {"axis": 0}),
    "Slice": ([whole(2, 3, 4, 5), whole(3), whole(0), whole(0), whole(-2)], {}),
    "Squeeze": ([whole(7), whole(0)], {}),
    "Unsqueeze": ([np.array(7), whole(0)], {}),
    "Concat": ([whole(2, 3), whole(4)], {"axis": 0}),
    "Reshape": ([whole(2, 3, 4, 5), whole(2, -1)], {}),
    "Expand": ([whole(2, 3), whole(4, 1)], {}),
    "Trilu": ([draw(3, 4), np.array(1)], {"upper": 1}),
    "ReduceProd": ([whole(2, 3, 4), whole(0)], {"keepdims": 0}),
}


@pytest.mark.parametrize(("a", "b"), [(-3, 2), (3, -2), (-4, 2), (-3, -2), (0, -5)])
def test_arrays_are_divided_without_the_part_after_the_point(a, b):
    """As onnxruntime does; the reference implementation rounds down."""
    (got,) = Call("Div", (), {}, ("y",))([whole(a), whole(b)], torch.device("cpu"))
    assert got.tolist() == [int(a / b)]
    assert got.dtype == np.int64


@pytest.mark.parametrize("op", KNOWN)
def test_arrays_are_treated_as_the_reference_implementation_treats_them(op):
    arrays, attributes = ON_ARRAYS[op]
    names = [f"a{i}" for i in range(len(arrays))]
    node = onnx.helper.make_node(op, names, ["y"], **attributes)
    run = ReferenceEvaluator(node, opsets={"": 20})
    (expected,) = run.run(None, dict(zip(names, arrays, strict=True)))
    (got,) = Call(op, (), attributes, ("y",))(arrays, torch.device("cpu"))
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
