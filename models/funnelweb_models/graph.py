"""Writes ONNX graphs node by node.

Only operators that tract runs well, one fixed opset, and a free batch dimension `N`.

    graph = Graph("example")
    x = graph.input("dense", "float32", 3)
    graph.output("score", graph.node("Sigmoid", [x]))
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
ML_OPSET = 1
IR_VERSION = 8
"""The version of the file's layout that belongs to opset 17."""

_ELEMENTS = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Graph:
    """A graph under construction; values are known by their names."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, element: str, width: int) -> str:
        """An input `[N, width]`."""
        self._inputs.append(helper.make_tensor_value_info(name, _ELEMENTS[element], ["N", width]))
        return name

    def constant(self, name: str, values: NDArray[Any] | np.generic | Sequence[int]) -> str:
        """Weights, or whole numbers that an operator takes as a tensor; one name is one constant."""
        if name not in self._constants:
            array = np.array(values, np.int64) if isinstance(values, Sequence) else np.asarray(values)
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """One operator; gives the name of what it computes."""
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def output(self, name: str, value: str) -> None:
        """The output `[N, 1]`."""
        self.node("Identity", [value], output=name)
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]))

    def model(self) -> onnx.ModelProto:
        """The finished, checked model."""
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain for node in self._nodes):
            opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="funnelweb_models")
        onnx.checker.check_model(model, full_check=True)
        return model
