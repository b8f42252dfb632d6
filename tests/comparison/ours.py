"""Runs this project's algorithms through the example `compare` of their crate."""

import json
import subprocess
import tempfile

import numpy as np


class Ours:
    def __init__(self, program, threads):
        self.program, self.threads = program, threads

    def run(self, train, specifications, top):
        """For each specification the seconds of training and every user's list."""
        coordinates = train.tocoo()
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            for user, item, weight in zip(coordinates.row, coordinates.col, coordinates.data):
                file.write(f"{user} {item} {weight}\n")
            file.flush()
            lines = [json.dumps({"top": top, "threads": self.threads, **of}) for of in specifications]
            done = subprocess.run(
                [self.program, file.name], input="\n".join(lines), stdout=subprocess.PIPE, text=True, check=True
            )
        # The matrix there ends with the last user who has anything.
        rest = train.shape[0] - (int(coordinates.row.max()) + 1)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        return [(answer["fit_seconds"], answer["top"] + [[]] * rest) for answer in answers]
