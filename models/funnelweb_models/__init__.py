"""Trains rankers from logged exposures and writes them in the format of `models/README.md`.

`python -m funnelweb_models train --data log.parquet --kind deepfm --out out/` is the
whole of it; `training.train` is the same as a function.
"""
