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


def linear_model(
    path: Path, weights: np.ndarray, bias: np.ndarray, *, cells: int = 8, side: int = 64
) -> Path:
    """Write a model that scores the mean colors of some cells linearly, then by a sigmoid.

    Args:
        path: The file.
        weights: Of the colors of `cells` x `cells` cells, `(3 * cells * cells, 1)`.
        bias: `(1,)`.
        cells: Cells per side.
        side: Side of the pictures, pixels.
    """
    step = side // cells
    nodes = [
        helper.make_node(
            "AveragePool", ["pictures"], ["cells"], kernel_shape=[step] * 2, strides=[step] * 2
        ),
        helper.make_node("Flatten", ["cells"], ["colors"]),
        helper.make_node("Gemm", ["colors", "weights", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["score"]),
    ]
    values = {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)}
    return write_model(path, nodes, values=values, shape=("N", 3, side, side), output=("N", 1))
