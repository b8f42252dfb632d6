"""The command line: `python -m funnelweb_models train|evaluate|predict|push`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import kinds, limits, objective, push, scoring, training, vocabulary
from .errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 1 for an error that the user can mend, said in one line."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m funnelweb_models", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train, measure and write a model"))
    _add_evaluate(commands.add_parser("evaluate", help="measure a written model on a log"))
    _add_predict(commands.add_parser("predict", help="score the rows of a log by a written model"))
    _add_push(commands.add_parser("push", help="upload a written model"))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="Parquet, as `funnelweb export-training` writes it")
    parser.add_argument("--kind", required=True, help=", ".join(kinds.Kind))
    parser.add_argument("--objective", default="click_rate", help=", ".join(objective.OBJECTIVES))
    parser.add_argument("--lambdarank", action="store_true", help="lightgbm: learn the order within a request")
    parser.add_argument("--name", help="the model's name; its kind when left out")
    parser.add_argument("--version", required=True, help="never used before for this name")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--min-count", type=_positive, default=limits.VOCABULARY_COUNT, help="rows that a word needs")
    parser.add_argument("--max-values", type=_positive, default=limits.VOCABULARY_VALUES, help="words of a feature")
    parser.set_defaults(run=_train)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="model.onnx")
    parser.add_argument("--split", default="test")
    parser.add_argument("--url", help="have a server score that the model was pushed to, not onnxruntime")
    parser.add_argument("--tenant", help="with --url")
    parser.add_argument("--token", default=os.environ.get("FUNNELWEB_TOKEN"), help="with --url; or FUNNELWEB_TOKEN")
    parser.set_defaults(run=_evaluate)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="model.onnx")
    parser.add_argument("--out", type=Path, required=True, help="Parquet to write")
    parser.set_defaults(run=_predict)


def _add_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="what `train --out` wrote")
    parser.add_argument("--url", required=True, help="of the server")
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--token", default=os.environ.get("FUNNELWEB_TOKEN"), help="or FUNNELWEB_TOKEN")
    parser.add_argument("--scenario", help="the one it was trained for when left out")
    parser.add_argument("--activate", action="store_true", help="serve by it at once")
    parser.set_defaults(run=_push)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _train(options: argparse.Namespace) -> None:
    kind = kinds.named(options.kind)
    settings = training.Settings(
        kind=kind,
        objective=objective.named(options.objective),
        name=options.name or kind.value,
        version=options.version,
        lambdarank=options.lambdarank,
        seed=options.seed,
        words=vocabulary.Options(options.min_count, options.max_values),
    )
    measured = training.train(options.data, settings, options.out, lambda said: print(said, file=sys.stderr))
    _print(measured)


def _evaluate(options: argparse.Namespace) -> None:
    server = None
    if options.url is not None:
        if options.tenant is None:
            raise InputError("--url needs --tenant")
        server = push.Server(options.url, options.tenant, options.token)
    _print(scoring.evaluate(options.data, options.model, options.split, server))


def _predict(options: argparse.Namespace) -> None:
    rows = scoring.predict(options.data, options.model, options.out)
    print(f"{rows} rows scored", file=sys.stderr)


def _push(options: argparse.Namespace) -> None:
    server = push.Server(options.url, options.tenant, options.token)
    for answer in push.push(server, options.folder, options.scenario, options.activate):
        print(answer)


def _print(measured: dict[str, float]) -> None:
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    sys.exit(main())
