import sys
import unittest
from math import nan
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from stage import weigh  # noqa: E402


class Weigh(unittest.TestCase):
    def test_a_score_is_the_sum_of_weight_times_value(self):
        self.assertEqual(weigh([[(1.0, 0.5), (2.0, 0.25), (-0.5, 4.0)]]), [-1.0])

    def test_what_is_missing_counts_nothing(self):
        self.assertEqual(weigh([[(1.0, 0.5), (2.0, nan), (-0.5, nan)]]), [0.5])
        self.assertEqual(weigh([]), [])
