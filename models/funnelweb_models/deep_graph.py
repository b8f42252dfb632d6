"""A trained network as an ONNX graph; the same parts in the same order as `network.py`."""

import numpy as np
import onnx

from .features import Input
from .graph import Graph
from .network import HIDDEN, Network
from .objective import RAW_LIMIT, Objective
from .scaling import Scaling
from .slots import Cross, Field, offsets


def graph(
    name: str, inputs: tuple[Input, ...], scaling: Scaling | None, network: Network, objective: Objective
) -> onnx.ModelProto:
    """From the inputs to the score."""
    result = Graph(name)
    given = {each.tensor: result.input(each.tensor, each.element, each.width) for each in inputs}
    dense = scaling.write(result, given["dense"]) if scaling else None
    weights = {name: result.constant(name, values) for name, values in network.weights.items() if values.size}
    writer = _Writer(result, network, weights, given.get("ids"))
    fields = writer.fields()
    parts = [*writer.linear(dense), writer.perceptron(fields, dense)]
    if network.shape.factorised:
        parts.append(writer.factorised(fields, dense))
    raw = weights["bias"]
    for part in parts:
        raw = result.node("Add", [part, raw])
    result.output("score", _linked(result, raw, objective))
    return result.model()


def _linked(graph: Graph, raw: str, objective: Objective) -> str:
    """The estimate of a raw sum."""
    if objective.is_probability:
        return graph.node("Sigmoid", [raw])
    return graph.node("Exp", [graph.node("Min", [raw, graph.constant("raw_limit", RAW_LIMIT)])])


class _Writer:
    """Writes the parts of a network."""

    def __init__(self, graph: Graph, network: Network, weights: dict[str, str], ids: str | None) -> None:
        self._graph = graph
        self._network = network
        self._weights = weights
        self._ids = ids
        self._rows = None
        if ids is not None:
            self._rows = graph.node("Add", [ids, graph.constant("offsets", offsets(network.shape.fields)[None])])

    def fields(self) -> str | None:
        """The embedding of each field, `[N, fields, dimensions]`; none without fields."""
        if self._rows is None:
            return None
        fields = self._network.shape.fields
        by_slot = self._graph.node("Gather", [self._weights["embedding"], self._rows], axis=0)
        if all(field.width == 1 for field in fields):
            return by_slot
        single = sum(not field.is_multi for field in fields)
        parts = [self._slice(by_slot, 0, single)] if single else []
        parts += [self._pooled(by_slot, field) for field in fields[single:]]
        return parts[0] if len(parts) == 1 else self._graph.node("Concat", parts, axis=1)

    def linear(self, dense: str | None) -> list[str]:
        """The parts of the linear sum, each `[N, 1]`."""
        parts = []
        if self._ids is not None and self._rows is not None:
            crosses = self._network.shape.crosses
            rows = [self._rows, *(self._cross_rows(self._ids, cross) for cross in crosses)]
            every = rows[0] if len(rows) == 1 else self._graph.node("Concat", rows, axis=1)
            found = self._graph.node("Gather", [self._weights["linear"], every], axis=0)
            parts.append(self._sum(found))
        if dense is not None:
            parts.append(self._graph.node("MatMul", [dense, self._weights["dense_linear"]]))
        return parts

    def perceptron(self, fields: str | None, dense: str | None) -> str:
        """The perceptron's sum, `[N, 1]`."""
        flat = None if fields is None else self._graph.node("Flatten", [fields], axis=1)
        given = [value for value in (flat, dense) if value is not None]
        units = given[0] if len(given) == 1 else self._graph.node("Concat", given, axis=1)
        for layer in range(len(HIDDEN) + 1):
            weights = [self._weights[f"layer_{layer}"], self._weights[f"layer_bias_{layer}"]]
            units = self._graph.node("Gemm", [units, *weights])
            if layer < len(HIDDEN):
                units = self._graph.node("Relu", [units])
        return units

    def factorised(self, fields: str | None, dense: str | None) -> str:
        """The factorisation machine's sum, `[N, 1]`: half of the square of the sum less the sum of the squares."""
        graph = self._graph
        vectors = [] if fields is None else [fields]
        if dense is not None:
            column = graph.node("Unsqueeze", [dense, graph.constant("last_axis", [2])])
            vectors.append(graph.node("Mul", [column, self._weights["dense_factors"]]))
        every = vectors[0] if len(vectors) == 1 else graph.node("Concat", vectors, axis=1)
        sums = self._sum(every)
        squares = self._sum(graph.node("Mul", [every, every]))
        pairs = self._sum(graph.node("Sub", [graph.node("Mul", [sums, sums]), squares]), keep=True)
        return graph.node("Mul", [pairs, graph.constant("half", np.float32(0.5))])

    def _cross_rows(self, ids: str, cross: Cross) -> str:
        graph = self._graph
        first, second = (self._slice(ids, field.slot, field.width) for field in (cross.first, cross.second))
        stride = graph.constant(f"stride_{cross.row}", np.array([[cross.second.values]], np.int64))
        start = graph.constant(f"start_{cross.row}", np.array([[cross.row]], np.int64))
        return graph.node("Add", [graph.node("Add", [graph.node("Mul", [first, stride]), second]), start])

    def _pooled(self, by_slot: str, field: Field) -> str:
        return self._sum(self._slice(by_slot, field.slot, field.width), keep=True)

    def _slice(self, value: str, start: int, width: int) -> str:
        """Some of the columns."""
        bounds = [self._graph.constant(f"at_{at}", [at]) for at in (start, start + width)]
        return self._graph.node("Slice", [value, *bounds, self._graph.constant("axis_1", [1])])

    def _sum(self, value: str, keep: bool = False) -> str:
        """Over the second axis, which is kept as 1 or goes."""
        return self._graph.node("ReduceSum", [value, self._graph.constant("axis_1", [1])], keepdims=int(keep))
