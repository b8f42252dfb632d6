"""A small graph for each operator that the ranker reads, in the versions that differ."""

import numpy as np
from onnx import TensorProto

from models import Model, Net

ML = "ai.onnx.ml"
NAMES = [f"item:f{at}" for at in range(6)]


def cases():
    """Name and graph: of `x`, `[N, 6]` numbers, and `k`, `[N, 2]` places from 0 to 4."""
    for name in "Abs Ceil Cos Erf Exp Floor Neg Sigmoid Sign Sin Softplus Softsign Tanh Relu Selu".split():
        yield name, unary(name)
    yield "Log", lambda n, x, k: n("Log", n("Add", n("Abs", x), n.constant(0.5)))
    yield "Sqrt", lambda n, x, k: n("Sqrt", n("Abs", x))
    yield "Reciprocal", lambda n, x, k: n("Reciprocal", n("Add", n("Abs", x), n.constant(0.5)))
    yield "LeakyRelu", unary("LeakyRelu", alpha=0.2)
    yield "Elu", unary("Elu", alpha=0.7)
    yield "HardSigmoid", unary("HardSigmoid", alpha=0.3, beta=0.4)
    for name in "Add Sub Mul Div Max Min Sum Mean".split():
        yield name, lambda n, x, k, name=name: n(name, x, n.constant([[1, 2, 3, 4, 5, 0.5]]))
    yield "Max-3", lambda n, x, k: n("Max", x, n.constant(0.1), n.constant([[1, -1, 0, 0, 0, 0]]))
    yield "Mean-3", lambda n, x, k: n("Mean", x, x, n.constant(3.0))
    yield "Pow", lambda n, x, k: n("Pow", n("Abs", x), n.constant(1.5))
    yield "Pow-int", lambda n, x, k: n("Pow", x, n.constant(2, np.int64))
    yield "Clip-11", lambda n, x, k: n("Clip", x, n.constant(-0.5), n.constant(0.8))
    yield "Clip-low", lambda n, x, k: n("Clip", x, n.constant(-0.5))
    yield "Clip-high", lambda n, x, k: n("Clip", x, "", n.constant(0.3))
    yield "Clip-10", lambda n, x, k: n("Clip", x, min=-0.5, max=0.8), 10
    yield "PRelu", lambda n, x, k: n("PRelu", x, n.constant([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    for name in "Less LessOrEqual Greater GreaterOrEqual Equal".split():
        yield name, lambda n, x, k, name=name: floats(n, n(name, k, n.constant(2, np.int64)))
    yield "And", lambda n, x, k: floats(n, n("And", positive(n, x), positive(n, n("Neg", n("Sub", x, n.constant(1.0))))))
    yield "Or", lambda n, x, k: floats(n, n("Or", positive(n, x), positive(n, n("Sub", x, n.constant(1.0)))))
    yield "Xor", lambda n, x, k: floats(n, n("Xor", positive(n, x), positive(n, n("Sub", x, n.constant(1.0)))))
    yield "Not", lambda n, x, k: floats(n, n("Not", positive(n, x)))
    yield "IsNaN", lambda n, x, k: floats(n, n("IsNaN", n("Log", x)))
    yield "Where", lambda n, x, k: n("Where", positive(n, x), x, n.constant(-3.0))
    yield "MatMul", lambda n, x, k: n("MatMul", x, n.weight(6, 3))
    yield "MatMul-batch", lambda n, x, k: flat(n, n("MatMul", reshape(n, x, [-1, 2, 3]), n.weight(3, 2)), 4)
    yield "MatMul-vector", lambda n, x, k: n("Unsqueeze", n("MatMul", x, n.weight(6)), n.constant([1], np.int64))
    yield "Gemm", lambda n, x, k: n("Gemm", x, n.weight(6, 3), n.weight(3))
    yield "Gemm-trans", lambda n, x, k: n("Gemm", x, n.weight(3, 6), n.weight(1, 3), transB=1, alpha=0.5, beta=2.0)
    yield "Softmax-13", lambda n, x, k: n("Softmax", x)
    yield "Softmax-11", lambda n, x, k: flat(n, n("Softmax", reshape(n, x, [-1, 2, 3])), 6), 11
    yield "LogSoftmax", lambda n, x, k: n("LogSoftmax", x, axis=1)
    yield "Concat", lambda n, x, k: n("Concat", x, n("Neg", x), axis=-1)
    yield "Gather-table", lambda n, x, k: flat(n, n("Gather", n.weight(5, 3), k), 6)
    yield "Gather-columns", lambda n, x, k: n("Gather", x, n.constant([4, -1, 0], np.int64), axis=1)
    yield "Slice-10", lambda n, x, k: n("Slice", x, ints(n, 1), ints(n, -1), ints(n, 1), ints(n, 1))
    yield "Slice-9", lambda n, x, k: n("Slice", x, starts=[1], ends=[100], axes=[1]), 9
    yield "Split-13", lambda n, x, k: n("Concat", *reversed(n("Split", x, ints(n, 2, 4), outputs=2, axis=1)), axis=1)
    yield "Split-11", lambda n, x, k: n("Sub", *n("Split", x, outputs=2, axis=1)), 11
    yield "Split-18", lambda n, x, k: n("Mul", *n("Split", x, outputs=2, axis=1, num_outputs=2)), 18
    yield "Reshape", lambda n, x, k: flat(n, n("Transpose", reshape(n, x, [0, 3, -1]), perm=[0, 2, 1]), 6)
    yield "Flatten", lambda n, x, k: n("Flatten", reshape(n, x, [-1, 2, 3]), axis=1)
    yield "Squeeze-13", lambda n, x, k: n("Squeeze", reshape(n, x, [-1, 1, 6]), ints(n, 1))
    yield "Squeeze-11", lambda n, x, k: n("Squeeze", n("Unsqueeze", x, axes=[1]), axes=[1]), 11
    yield "Shape", lambda n, x, k: n("Expand", n.constant([[1.5]]), n("Shape", x))
    yield "Shape-part", lambda n, x, k: n("Add", x, n("Cast", n("Shape", x, start=1), to=TensorProto.FLOAT))
    yield "ConstantOfShape", lambda n, x, k: n("Add", x, n("ConstantOfShape", n("Shape", x)))
    yield "Constant", lambda n, x, k: n("Add", x, n("Constant", value_float=2.5))
    yield "Constant-list", lambda n, x, k: n("Add", x, n("Constant", value_floats=[1.0, 2, 3, 4, 5, 6]))
    yield "Expand", lambda n, x, k: n("Mul", x, n("Expand", n("Constant", value_floats=[2.0]), ints(n, 1, 6)))
    yield "Tile", lambda n, x, k: n("Tile", x, ints(n, 1, 2))
    yield "Cast", lambda n, x, k: n("Cast", n("Cast", x, to=TensorProto.INT64), to=TensorProto.FLOAT)
    yield "Dropout", lambda n, x, k: n("Dropout", x)
    for name in "ReduceMax ReduceMean ReduceMin ReduceProd ReduceL2 ReduceSumSquare".split():
        yield f"{name}-13", lambda n, x, k, name=name: n(name, x, axes=[1], keepdims=1), 13
        yield f"{name}-18", lambda n, x, k, name=name: n(name, x, ints(n, -1), keepdims=1), 18
    yield "ReduceSum-11", lambda n, x, k: n("ReduceSum", x, axes=[1]), 11
    yield "ReduceSum-13", lambda n, x, k: n("ReduceSum", reshape(n, x, [-1, 2, 3]), ints(n, 1), keepdims=0)
    yield "BatchNormalization", batch_normalization
    yield "LayerNormalization", lambda n, x, k: n("LayerNormalization", x, n.weight(6), n.weight(6), epsilon=1e-3)
    for mode in "LEQ LT GTE GT EQ NEQ".split():
        for missing in (0, 1):
            yield f"Trees-{mode}-{missing}", lambda n, x, k, m=mode, t=missing: trees(n, n("Cast", k, to=1), m, t)
    yield "Trees-average", lambda n, x, k: trees(n, x, "LEQ", 0, aggregate_function="AVERAGE", base_values=[0.25])
    yield "Trees-logistic", lambda n, x, k: trees(n, x, "LEQ", 0, post_transform="LOGISTIC")
    yield "Trees-targets", lambda n, x, k: trees(n, x, "LT", 1, targets=3)
    yield "Trees-targets-logistic", lambda n, x, k: trees(n, x, "LT", 1, targets=3, post_transform="LOGISTIC")
    yield "Classes-logistic", lambda n, x, k: classes(n, x, [0, 0, 0], [-0.5, 0.7, 0.2], "LOGISTIC")
    yield "Classes-positive", lambda n, x, k: classes(n, x, [0, 0, 0], [0.5, 0.7, 0.2], "NONE")
    yield "Classes-positive-logistic", lambda n, x, k: classes(n, x, [0, 0, 0], [0.5, 0.7, 0.2], "LOGISTIC")
    yield "Classes-none", lambda n, x, k: classes(n, x, [0, 0, 0], [-0.5, 0.7, 0.2], "NONE")
    yield "Classes-both", lambda n, x, k: classes(n, x, [0, 1] * 3, [0.5, 0.4, 0.7, 0.1, -0.2, 0.9], "NONE")
    yield "Classes-both-logistic", lambda n, x, k: classes(n, x, [0, 1] * 3, [0.5, 0.4, 0.7, 0.1, -0.2, 0.9], "LOGISTIC")


def unary(name, **attributes):
    return lambda n, x, k: n(name, x, **attributes)


def ints(n, *values):
    return n.constant(values, np.int64)


def reshape(n, x, shape):
    return n("Reshape", x, ints(n, *shape))


def flat(n, x, width):
    return reshape(n, x, [-1, width])


def positive(n, x):
    return n("Greater", x, n.constant(0.0))


def floats(n, x):
    return n("Cast", x, to=TensorProto.FLOAT)


def batch_normalization(n, x, k):
    of = [n.constant(n.rng.random(6) + 0.5) for _ in range(4)]
    return n("BatchNormalization", x, *of)


def trees(n, x, mode, missing, targets=1, **attributes):
    """Two trees: a branch whose left side branches again, and a leaf alone."""
    x = n("Log", n("Sub", x, n.constant(0.5))) if missing and mode in ("LEQ", "LT", "GTE", "GT") else x
    leaves = [1.5, -2.0, 0.75, 0.125]
    return n(
        "TreeEnsembleRegressor",
        x,
        domain=ML,
        n_targets=targets,
        nodes_treeids=[0, 0, 0, 0, 0, 1],
        nodes_nodeids=[0, 1, 2, 3, 4, 0],
        nodes_featureids=[0, 1, 0, 0, 0, 0],
        nodes_modes=[f"BRANCH_{mode}", f"BRANCH_{mode}", "LEAF", "LEAF", "LEAF", "LEAF"],
        nodes_values=[1.0, 2.0, 0.0, 0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 2, 0, 0, 0, 0],
        nodes_falsenodeids=[4, 3, 0, 0, 0, 0],
        nodes_missing_value_tracks_true=[missing, missing, 0, 0, 0, 0],
        target_treeids=[0, 0, 0, 1],
        target_nodeids=[2, 3, 4, 0],
        target_ids=[0, targets - 1, 0, targets // 2],
        target_weights=leaves,
        **attributes,
    )


def classes(n, x, ids, weights, post):
    return n(
        "TreeEnsembleClassifier",
        x,
        outputs=2,
        domain=ML,
        classlabels_int64s=[0, 1],
        post_transform=post,
        nodes_treeids=[0, 0, 0, 0, 0],
        nodes_nodeids=[0, 1, 2, 3, 4],
        nodes_featureids=[0, 1, 0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
        nodes_values=[0.0, 0.5, 0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 2, 0, 0, 0],
        nodes_falsenodeids=[4, 3, 0, 0, 0],
        class_treeids=[0] * len(ids),
        class_nodeids=[2 + 3 * at // len(ids) for at in range(len(ids))],
        class_ids=ids,
        class_weights=weights,
    )[1]


def models():
    """The cases as models: what the graph makes is summed to one score per row."""
    for name, make, *opset in cases():
        rng = np.random.default_rng(7)
        net = Net(rng, *(opset or [17]))
        x, k = net.input("x", TensorProto.FLOAT, 6), net.input("k", TensorProto.INT64, 2)
        cells = make(net, x, k)
        if net.opset < 13:
            score = net("ReduceSum", cells, axes=[1])
        else:
            score = net("ReduceSum", cells, net.constant([1], np.int64))
        # So that both inputs are read in every case.
        places = net("Cast", net("Slice", k, starts=[0], ends=[1], axes=[1]), to=1) if net.opset < 10 else net(
            "Cast", net("Slice", k, ints(net, 0), ints(net, 1), ints(net, 1)), to=1
        )
        score = net("Add", score, net("Mul", places, net.constant(0.001)))
        words = [f"w{place}" for place in range(4)]
        inputs = [
            {"tensor": "x", "type": "float32", "columns": [{"feature": f, "type": "numeric"} for f in NAMES]},
            {
                "tensor": "k",
                "type": "int64",
                "columns": [{"feature": f"item:k{at}", "type": "categorical", "vocabulary": words} for at in range(2)],
            },
        ]
        rows = {f: [float(np.float32(v)) for v in rng.normal(size=8)] for f in NAMES}
        rows |= {f"item:k{at}": [[None, *words][p] for p in rng.integers(0, 5, size=8)] for at in range(2)}
        # A tree ensemble makes a model a `lightgbm` one.
        kind = "lightgbm" if any(node.op_type.startswith("Tree") for node in net.nodes) else "deepfm"
        yield name, Model(kind, net.model(score), inputs, rows)
