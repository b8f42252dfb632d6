"""Every limit of the training project, with its unit last in its name."""

NAME_CHARACTERS = 63
"""Characters in a model's name or version."""

VOCABULARY_VALUES = 20_000
"""Values that a vocabulary keeps unless told otherwise, the most frequent."""

VOCABULARY_COUNT = 5
"""Rows of the training part that a value must occur in unless told otherwise; rarer ones count as unknown."""

MULTI_VALUES = 16
"""Values of one multi-categorical column that a deep model is given."""

TREE_VALUE_ROWS = 100
"""Rows of the training part that a value must occur in to have a place of its own in a tree ensemble: its place
tells its mean label, and that of few rows is mostly luck, which the trees would learn by heart."""

INDICATOR_VALUES = 32
"""Values of a multi-categorical feature that a tree ensemble is given, each as a column of its own, at most."""

CROSSES = 6
"""Crosses in the wide part of Wide&Deep."""

CROSS_CELLS = 20_000
"""Pairs of values in one cross."""

TREES = 200
"""Trees of a LightGBM model; a tree costs the sandbox about 4 µs for 300 candidates."""

EPOCHS = 40
"""Times that a deep model sees the training part, at most."""

IMPORTANCE_ROWS = 20_000
"""Rows that the importance of features is measured on."""

GOLDEN_ROWS = 32
"""Golden rows that are written; the format takes 64."""

COLUMNS = 512
"""Columns of a model, as many as the server takes."""

MANIFEST_BYTES = 4 * 1024 * 1024
"""Bytes of a manifest, as many as the server takes."""

ONNX_BYTES = 64 * 1024 * 1024
"""Bytes of an ONNX file that is taken for upload."""

PREDICT_ROWS = 1000
"""Rows that the server scores in one call."""

HTTP_TIMEOUT_SECONDS = 300
"""Time for one call of an upload."""
