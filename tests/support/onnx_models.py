"""Small ONNX models that score pictures, as a user's own may."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 8
Shape = Sequence[int | str]

BRIGHTNESS = (helper.make_node("ReduceMean", ["pictures"], ["score"], axes=[1, 2, 3], keepdims=0),)
"""The mean over all pixels and colors."""


def write_model(
    path: Path,
    nodes: Sequence[onnx.NodeProto] = BRIGHTNESS,
    *,
    values: Mapping[str, np.ndarray] | None = None,
    shape: Shape = ("N", 3, SIDE, SIDE),
    output: Shape = ("N",),
    kind: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
    operators: Sequence[str] = (),
) -> Path:
    """Write a model from the input `pictures` to the output `score`.

    Args:
        path: The file.
        nodes: Its nodes.
        values: Its constants, by name.
        shape: Declared shape of the input.
        output: Declared shape of the output.
        kind: Type of the input.
        metadata: Its properties.
        operators: Domains of further operators.
    """
    graph = helper.make_graph(
        list(nodes),
        "scores",
        [helper.make_tensor_value_info("pictures", kind, shape)],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in (values or {}).items()],
    )
    domains = [helper.make_opsetid("", 17), *(helper.make_opsetid(each, 1) for each in operators)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 8
    helper.set_model_props(model, dict(metadata or {}))
    path.write_bytes(model.SerializeToString())
    return path


def endless_nodes() -> list[onnx.NodeProto]:
    """Return nodes that go round in a loop for ever. They need the value `true`, `[True]`."""
    tensor = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes"], ["goes_on"]),
            helper.make_node("Identity", ["carried"], ["carried_on"]),
        ],
        "body",
        [
            tensor("turn", TensorProto.INT64, []),
            tensor("goes", TensorProto.BOOL, [1]),
            tensor("carried", TensorProto.FLOAT, ["N"]),
        ],
        [tensor("goes_on", TensorProto.BOOL, [1]), tensor("carried_on", TensorProto.FLOAT, ["N"])],
    )
    return [
        helper.make_node("ReduceMean", ["pictures"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Loop", ["", "true", "mean"], ["score"], body=body),
    ]


def feature_nodes(cells: int, side: int) -> list[onnx.NodeProto]:
    """Return nodes from `pictures` to `features`: color and detail of `cells` x `cells` cells.

    The features of a picture of `side` x `side` pixels are `6 * cells * cells` numbers.
    """
    step = side // cells
    pool = {"kernel_shape": [step] * 2, "strides": [step] * 2}
    return [
        helper.make_node(
            "AveragePool", ["pictures"], ["smooth"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Sub", ["pictures", "smooth"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["detail"]),
        helper.make_node("Concat", ["pictures", "detail"], ["planes"], axis=1),
        helper.make_node("AveragePool", ["planes"], ["cells"], **pool),
        helper.make_node("Flatten", ["cells"], ["features"]),
    ]


def linear_nodes() -> list[onnx.NodeProto]:
    """Return nodes from `features` to `score`: a logistic regression with `weights` and `bias`."""
    return [
        helper.make_node("Gemm", ["features", "weights", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["score"]),
    ]
