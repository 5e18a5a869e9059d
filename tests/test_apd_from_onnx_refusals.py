"""What is no network this importer knows is refused in one clear sentence, and so are impostors."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from test_apd_from_onnx_operators import draw, file_of

from apd.errors import TargetError
from apd.from_onnx import load_onnx, verify

HEADER = '<ir_version: 10, opset_import: ["": 20, "mine": 1]>'


def written(path, text: str):
    onnx.save(onnx.parser.parse_model(f"{HEADER} {text}"), path)


def empty(path):
    path.touch()


def garbage(path):
    path.write_bytes(b"not a protocol buffer at all")


def truncated(path):
    file_of(path, "4", "y = MatMul (x, w)", {"w": draw(4, 50)})
    path.write_bytes(path.read_bytes()[:300])


def damaged(path):
    file_of(path, "4", "y = Relu (x)", {})
    model = onnx.load(path)
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, path)


def with_weights_elsewhere(path):
    file_of(path, "4", "y = MatMul (x, w)", {"w": draw(4, 5)})
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.data", size_threshold=0)


def without_its_weights(path):
    with_weights_elsewhere(path)
    (path.parent / "w.data").unlink()


def with_half_its_weights(path):
    with_weights_elsewhere(path)
    whole = (path.parent / "w.data").read_bytes()
    (path.parent / "w.data").write_bytes(whole[: len(whole) // 2])


def old(path):
    file_of(path, "4", "y = Relu (x)", {}, opset=12)


def with_a_weight_of_another_size(path):
    file_of(path, "4", "y = MatMul (x, w)", {"w": draw(4, 5)})
    model = onnx.load(path)
    model.graph.initializer[0].dims[0] = 3
    onnx.save(model, path)


def two_inputs(path):
    written(path, "g (float[n, 4] a, float[n, 4] b) => (float[n, 4] y) { y = Add (a, b) }")


def two_outputs(path):
    written(path, "g (float[n, 4] x) => (float[n, 4] y, float[n, 4] z) { y = Neg(x) z = Abs(x) }")


def one_at_a_time(path):
    written(path, "g (float[1, 4] x) => (float[1, 4] y) { y = Neg (x) }")


def one_number(path):
    written(path, "g (float x) => (float y) { y = Neg (x) }")


def indifferent(path):
    written(path, "g (float[n, 4] x) => (float[1] y) { y = Constant <value_floats = [1.0]> () }")


def with_constants_that_do_not_fit(path):
    constants = {"c": draw(4), "s": np.array([3])}
    file_of(path, "4", "k = Reshape (c, s) y = Add (x, k)", {**constants, "s": np.array([4])})
    model = onnx.load(path)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(constants["s"], "s"))
    onnx.save(model, path)


def branching(path):
    then, otherwise = (
        helper.make_graph(
            [helper.make_node(op, ["x"], [op])],
            op,
            [],
            [helper.make_tensor_value_info(op, TensorProto.FLOAT, None)],
        )
        for op in ("Neg", "Abs")
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [zero])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)


def unknown(path):
    written(
        path,
        "g (float[n, 4] x) => (float[n, 4] y) "
        "{ a = Acosh (x) b = mine.Special (a) c = Relu (b) y = Acosh (c) }",
    )


def with_an_unknown_attribute(path):
    file_of(path, "4", "y = ArgMax <select_last_index = 1> (x) ", {})
    model = onnx.load(path)
    model.graph.node[0].op_type = "ReduceMax"
    onnx.save(model, path)


def with_a_second_result(path):
    written(
        path,
        "g (float[n, 2, 9] x) => (int64[n, 2, 4] y) "
        "{ m, y = MaxPool <kernel_shape = [2], strides = [2]> (x) }",
    )


def in_training(path):
    written(
        path,
        "g (float[n, 4] x) => (float[n, 4] y) "
        "<float r = {0.5}, bool t = {1}> { y = Dropout (x, r, t) }",
    )


def in_brain_floats(path):
    written(path, "g (bfloat16[n, 4] x) => (bfloat16[n, 4] y) { y = Relu (x) }")


def with_a_shape_out_of_values(path):
    written(
        path,
        "g (float[n, 4] x) => (float[a, b] y) "
        "{ k = Cast <to = 7> (x) s = ReduceMax <keepdims = 0> (k) t = Unsqueeze (s, o) "
        "y = Tile (x, t) }".replace("{ k", "<int64[1] o = {0}> { k"),
    )


# what is wrong -> (how to make it so, words of the sentence)
BAD_FILES = {
    "missing": (lambda path: None, ["cannot be read: No such file"]),
    "a directory": (lambda path: path.mkdir(), ["cannot be read: Is a directory"]),
    "empty": (empty, ["is not an ONNX file"]),
    "garbage": (garbage, ["is not an ONNX file"]),
    "truncated": (truncated, ["is not an ONNX file, or is truncated"]),
    "damaged": (damaged, ["is not a valid ONNX file", "nowhere"]),
    "another size": (with_a_weight_of_another_size, ["damaged"]),
    "no weights": (without_its_weights, ["keeps weights in another file", "w.data"]),
    "half the weights": (with_half_its_weights, ["keeps weights in another file"]),
    "too old": (old, ["opset 12", "13 and later"]),
    "two inputs": (two_inputs, ["inputs a, b", "one of each"]),
    "two outputs": (two_outputs, ["outputs y, z", "one of each"]),
    "fixed batch": (one_at_a_time, ["a batch of exactly 1", "first axis free"]),
    "no batch": (one_number, ["batch of inputs"]),
    "constant": (indifferent, ["the same outputs for every input"]),
    "misfits": (with_constants_that_do_not_fit, ["Reshape of constants fails"]),
    "control flow": (branching, ["branches or loops (If)"]),
    "unknown operators": (unknown, ["uses Acosh, mine.Special", "it knows", "Conv", "Gemm"]),
    "unknown attribute": (with_an_unknown_attribute, ["ReduceMax", "select_last_index"]),
    "second result": (with_a_second_result, ["the second result of MaxPool"]),
    "brain floats": (in_brain_floats, ["BFLOAT16"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_in_one_sentence(case, tmp_path):
    make, words = BAD_FILES[case]
    path = tmp_path / "model.onnx"
    make(path)
    with pytest.raises(TargetError) as caught:
        load_onnx(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count(str(path)) == 1
    for word in words:
        assert word in message


BAD_CALLS = {
    "in training": (in_training, "training mode"),
    "a shape out of values": (with_a_shape_out_of_values, "Tile takes repeats out of"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_what_only_shows_in_a_call_is_refused_there(case, tmp_path):
    make, words = BAD_CALLS[case]
    make(tmp_path / "model.onnx")
    with pytest.raises(TargetError, match=words):
        load_onnx(tmp_path / "model.onnx")(torch.ones(3, 4))


@pytest.fixture
def imported(tmp_path):
    path = file_of(tmp_path / "model.onnx", "4", "y = MatMul (x, w)", {"w": draw(4, 5)})
    return load_onnx(path), path


@pytest.fixture(params=["onnxruntime", "onnx.reference"])
def judge(request, monkeypatch):
    if request.param == "onnx.reference":
        monkeypatch.setattr("apd.from_onnx.verification.find_spec", lambda _: None)
    return request.param


def test_an_honest_network_is_verified_by_either_judge(imported, judge):
    x = draw(70, 4)
    x[3, 1] = np.nan
    assert verify(*imported, x) == (judge, 64)
    assert verify(*imported, x[:9].astype(np.float64)) == (judge, 8)


def test_a_network_that_computes_something_else_is_refused(imported, judge):
    module, path = imported
    with torch.no_grad():
        module.w[2, 3] += 0.1
    with pytest.raises(TargetError, match=f"other outputs here than in {judge}"):
        verify(module, path, draw(9, 4))


def test_inputs_it_cannot_be_tried_on_are_refused(imported):
    with pytest.raises(TargetError, match=r"cannot be run on inputs of shape \(5,\)"):
        verify(*imported, draw(9, 5))
    with pytest.raises(TargetError, match="no input is finite"):
        verify(*imported, np.full((9, 4), np.inf))


def test_a_file_the_judge_cannot_run_is_refused(imported, judge):
    module, path = imported
    shutil.copy(path, other := path.with_name("other.onnx"))
    garbage(other)
    with pytest.raises(TargetError, match=f"{judge} cannot run"):
        verify(module, other, draw(9, 4))
