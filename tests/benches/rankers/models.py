"""Rankers of the three kinds in the format of models/README.md, rows for them, and
the scores that onnxruntime gives those rows."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


@dataclass
class Model:
    """A graph, what it is given, and rows: by feature a list, in which None is missing."""

    kind: str
    graph: onnx.ModelProto
    inputs: list
    rows: dict

    def cells(self):
        """The inputs of the graph for all rows."""
        return {entry["tensor"]: cells_of(entry, self.rows) for entry in self.inputs}

    def scores(self):
        """What onnxruntime makes of them, on one thread."""
        output = session(self.graph).run([self.output()], self.cells())[0]
        return output.reshape(-1).astype(np.float32)

    def output(self):
        return self.graph.graph.output[-1].name

    def file(self, name, golden=16):
        """The ONNX file with its manifest, whose golden rows are the first of the rows."""
        count = min(golden, len(next(iter(self.rows.values()))))
        scores = self.scores()[:count]
        columns = [column for entry in self.inputs for column in entry["columns"]]
        manifest = {
            "format": 1,
            "name": name,
            "version": "v1",
            "kind": self.kind,
            "objective": "click_rate",
            "inputs": self.inputs,
            "output": {"tensor": self.output()},
            "schema_hash": schema_hash(columns),
            "golden": {
                "rows": [self.row(at) for at in range(count)],
                "scores": [float(score) for score in scores],
            },
        }
        model = onnx.ModelProto()
        model.CopyFrom(self.graph)
        entry = model.metadata_props.add()
        entry.key, entry.value = "funnelweb.manifest", json.dumps(manifest, allow_nan=False)
        return model.SerializeToString()

    def row(self, at):
        values = {name: column[at] for name, column in self.rows.items()}
        return {name: value for name, value in values.items() if value is not None}

    def data(self):
        """All rows with their scores, as the bench reads them."""
        return {"features": self.rows, "scores": [float(score) for score in self.scores()]}


def session(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def schema_hash(columns):
    lines = {f"{column['feature']} {column['type']}\n" for column in columns}
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]


def cells_of(entry, rows):
    parts = []
    for column in entry["columns"]:
        values = rows[column["feature"]]
        if column["type"] in ("numeric", "timestamp"):
            missing = column.get("missing", float("nan"))
            parts.append(np.array([[missing if value is None else value] for value in values]))
            continue
        places = {value: 1 + place for place, value in enumerate(column["vocabulary"])}
        if column["type"] == "categorical":
            parts.append(np.array([[places.get(value, 0)] for value in values]))
        else:
            known = [[places[value] for value in row or [] if value in places] for row in values]
            wide = [(row + [0] * column["length"])[: column["length"]] for row in known]
            parts.append(np.array(wide))
    dtype = np.float32 if entry["type"] == "float32" else np.int64
    return np.concatenate(parts, axis=1).astype(dtype)


# --- trees ---


def lightgbm(rng, rows, trees, leaves, objective="regression"):
    """Twenty features, some missing, one of few whole numbers."""
    import lightgbm as lgb
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    def sample(count):
        x = rng.normal(size=(count, 20)).astype(np.float32)
        x[:, 3] = rng.integers(0, 12, size=count)
        x[rng.random(x.shape) < 0.05] = np.nan
        return x

    x = sample(20_000)
    z = np.nan_to_num(x)
    y = z[:, 0] * z[:, 1] + np.sin(2 * z[:, 2]) + 0.3 * (z[:, 3] > 6) + 0.2 * rng.normal(size=len(x))
    if objective != "regression":
        y = (y > 0).astype(int)
    data = lgb.Dataset(x, y, categorical_feature=[3] if objective == "binary" else [])
    params = {"objective": objective, "num_leaves": leaves, "verbose": -1, "num_threads": 2, "seed": 1}
    if objective == "lambdarank":
        data.set_group([20] * (len(x) // 20))
    booster = lgb.train(params, data, num_boost_round=trees)
    graph = convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, 20]))], zipmap=False, target_opset=15)
    if objective == "binary":
        second_class(graph)
    names = [f"item:f{at}" for at in range(20)]
    inputs = [{"tensor": "x", "type": "float32", "columns": [{"feature": name, "type": "numeric"} for name in names]}]
    x = sample(rows)
    values = {name: [None if np.isnan(cell) else float(cell) for cell in x[:, at]] for at, name in enumerate(names)}
    model = Model("lightgbm", graph, inputs, values)
    model.booster, model.matrix = booster, x
    return model


def second_class(graph):
    """The probability of the second class alone, as `[N, 1]`."""
    graph.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "second"))
    graph.graph.node.append(helper.make_node("Gather", [graph.graph.output[-1].name, "second"], ["score"], axis=1))
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1]))


# --- networks ---


class Net:
    """A graph that grows."""

    def __init__(self, rng, opset=OPSET):
        self.rng, self.opset = rng, opset
        self.nodes, self.constants, self.inputs = [], [], []

    def input(self, name, dtype, width):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, ["N", width]))
        return name

    def constant(self, array, dtype=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def weight(self, *shape, scale=None):
        return self.constant(self.rng.normal(size=shape) * (scale or (2 / shape[0]) ** 0.5))

    def __call__(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"v{len(self.nodes)}_{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def layers(self, x, widths):
        for wide, narrow in zip(widths, widths[1:]):
            x = self("Gemm", x, self.weight(wide, narrow), self.weight(narrow, scale=0.1))
            if narrow != 1:
                x = self("Relu", x)
        return x

    def model(self, score, shape=("N", 1)):
        self.nodes.append(helper.make_node("Identity", [score], ["score"]))
        output = helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "ranker", self.inputs, [output], self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="funnelweb-tests")
        model.ir_version = 8
        return model


def fields(rng, count, vocabulary, rows):
    """Categorical item features, some of them missing or unknown."""
    names = [f"item:c{at}" for at in range(count)]
    words = [[f"c{at}-{place}" for place in range(vocabulary)] for at in range(count)]
    columns = [
        {"feature": name, "type": "categorical", "vocabulary": known} for name, known in zip(names, words)
    ]
    places = rng.integers(-1, vocabulary + 1, size=(rows, count))
    values = {
        name: [None if place < 0 else f"c{at}-{place}" for place in places[:, at].tolist()]
        for at, name in enumerate(names)
    }
    return columns, values


def embeddings(net, ids, count, vocabulary, dim):
    """The rows of one table for all fields, each from its own part of it."""
    offsets = net.constant([[(vocabulary + 1) * at for at in range(count)]], np.int64)
    places = net("Add", ids, offsets)
    size = (vocabulary + 1) * count
    return net("Gather", net.weight(size, dim, scale=0.1), places), net("Gather", net.weight(size, 1, scale=0.1), places)


def deepfm(rng, rows, count=8, dim=16, vocabulary=1000, hidden=(128, 64)):
    net = Net(rng)
    columns, values = fields(rng, count, vocabulary, rows)
    table, linear = embeddings(net, net.input("ids", TensorProto.INT64, count), count, vocabulary, dim)
    one, last = net.constant([1], np.int64), net.constant([1], np.int64)
    first = net("ReduceSum", linear, one, keepdims=0)
    sums = net("ReduceSum", table, one, keepdims=0)
    squares = net("ReduceSum", net("Mul", table, table), one, keepdims=0)
    pairs = net("ReduceSum", net("Sub", net("Mul", sums, sums), squares), last, keepdims=1)
    pairs = net("Mul", pairs, net.constant(0.5))
    flat = net("Reshape", table, net.constant([-1, count * dim], np.int64))
    deep = net.layers(flat, [count * dim, *hidden, 1])
    score = net("Sigmoid", net("Add", net("Add", first, pairs), deep))
    return Model("deepfm", net.model(score), [{"tensor": "ids", "type": "int64", "columns": columns}], values)


def wide_deep(rng, rows, count=8, dim=16, vocabulary=1000, numbers=13, hidden=(256, 128)):
    net = Net(rng)
    columns, values = fields(rng, count, vocabulary, rows)
    names = [f"item:n{at}" for at in range(numbers)]
    dense = net.input("dense", TensorProto.FLOAT, numbers)
    table, linear = embeddings(net, net.input("ids", TensorProto.INT64, count), count, vocabulary, dim)
    scaled = net(
        "BatchNormalization",
        dense,
        net.constant(np.ones(numbers)),
        net.constant(np.zeros(numbers)),
        net.constant(rng.normal(size=numbers)),
        net.constant(rng.random(numbers) + 0.5),
    )
    flat = net("Reshape", table, net.constant([-1, count * dim], np.int64))
    deep = net.layers(net("Concat", flat, scaled, axis=1), [count * dim + numbers, *hidden, 1])
    wide = net("ReduceSum", linear, net.constant([1], np.int64), keepdims=0)
    score = net("Sigmoid", net("Add", wide, net("Add", deep, net("MatMul", scaled, net.weight(numbers, 1)))))
    cells = rng.normal(size=(rows, numbers)) * 2
    cells = [[None if rng.random() < 0.05 else float(np.float32(cell)) for cell in row] for row in cells]
    values = {name: [row[at] for row in cells] for at, name in enumerate(names)} | values
    inputs = [
        {
            "tensor": "dense",
            "type": "float32",
            "columns": [{"feature": name, "type": "numeric", "missing": 0.0} for name in names],
        },
        {"tensor": "ids", "type": "int64", "columns": columns},
    ]
    return Model("wide_deep", net.model(score), inputs, values)
