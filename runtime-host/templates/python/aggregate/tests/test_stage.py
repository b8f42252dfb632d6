import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from stage import finished, read, write  # noqa: E402


class Finished(unittest.TestCase):
    def test_the_end_counts_and_what_comes_before_does_not(self):
        self.assertEqual(finished([0.2, 0.95, 1.0, 3.0]), 3)

    def test_an_accumulator_is_read_as_it_was_written(self):
        self.assertEqual(read(write(7)), 7)
        with self.assertRaises(ValueError):
            read(b"\1")
