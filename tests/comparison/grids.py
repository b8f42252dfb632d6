"""What is tried on the validation part: for ours no more settings than for theirs, model
by model where both have it (ALS 30, item kNN 24, EASE 4) and in all (70). What is
cheaper or simpler comes first: it is chosen where the measure is the same."""

from itertools import product


def grid(**choices):
    return [dict(zip(choices, values)) for values in product(*choices.values())]


THEIRS = {
    "als": grid(factors=[64, 128], regularization=[1.0, 10.0, 30.0, 100.0, 300.0], alpha=[10.0, 40.0, 100.0]),
    "bpr": grid(factors=[64, 128], learning_rate=[0.01, 0.05], regularization=[0.001, 0.01, 0.05]),
    "item-knn": grid(neighbours=[50, 200, 500], k1=[1.2, 100.0], b=[0.0, 0.25, 0.5, 0.75]),
    "ease": grid(regularisation=[10.0, 50.0, 200.0, 1000.0]),
}

OURS = {
    "als": grid(
        model=["als"],
        dimensions=[64, 128],
        unobserved_weight=[0.001, 0.01, 0.1],
        regularisation=[0.01, 0.03, 0.1],
        regularisation_exponent=[1.0],
    )
    + grid(
        model=["als"],
        dimensions=[64, 128],
        unobserved_weight=[0.003, 0.01, 0.03],
        regularisation=[0.1, 0.3],
        regularisation_exponent=[0.5],
    ),
    "item-knn": grid(
        model=["item-knn"],
        weighting=["bm25"],
        neighbours=[500],
        k1=[1.2],
        b=[0.0, 0.25, 0.5],
        shrinkage=[0, 5],
        normalisation=[0.0, 0.5, 1.0],
    )
    + grid(
        model=["item-knn"],
        weighting=["cosine", "tf-idf"],
        neighbours=[200],
        shrinkage=[5],
        normalisation=[0.0, 0.5, 1.0],
    ),
    "user-knn": grid(model=["user-knn"], weighting=["tf-idf"], neighbours=[50, 100, 200, 500], shrinkage=[0]),
    "rp3beta": grid(model=["rp3beta"], neighbours=[500], alpha=[0.8], beta=[0.1, 0.3], normalisation=[0.0, 0.25]),
    "ease": grid(model=["ease"], regularisation=[50.0, 200.0], dropout=[0.0, 0.3]),
}


def fusions(tuned):
    """Of the two and of the three models that are best on the validation part, all
    alike or the best with as much weight as two."""
    best = [specification for _, specification in sorted(tuned, key=lambda of: -of[0])]
    return [
        {"model": "fusion", "constant": 10, "weights": [first] + [1] * (count - 1), "of": best[:count]}
        for count in (2, 3)
        for first in (1, 2)
    ]
