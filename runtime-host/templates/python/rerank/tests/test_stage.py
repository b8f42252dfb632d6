import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from stage import lift  # noqa: E402

MUSIC, NEWS = 7, 8


def order(scores, categories, preferred):
    return [position for position, _ in lift(scores, categories, preferred, 0.5)]


class Lift(unittest.TestCase):
    def test_what_is_liked_rises_and_what_is_disliked_falls(self):
        self.assertEqual(order([0.9, 0.8, 0.4], [NEWS, MUSIC, MUSIC], {MUSIC: 1.0}), [1, 0, 2])
        self.assertEqual(order([0.9, 0.8, 0.4], [NEWS, MUSIC, MUSIC], {NEWS: -1.0}), [1, 0, 2])

    def test_who_has_no_preferences_gets_the_list_as_it_was(self):
        self.assertEqual(order([0.9, 0.8, 0.8], [NEWS, MUSIC, 0], {}), [0, 1, 2])
        self.assertEqual(order([], [], {MUSIC: 1.0}), [])

    def test_equal_scores_are_parted_by_the_boost_alone(self):
        self.assertEqual(lift([1.0, 1.0], [NEWS, MUSIC], {MUSIC: 1.0}, 0.5), [(1, 1.5), (0, 1.0)])
