import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from stage import Hot, pick  # noqa: E402

MUSIC, NEWS = 7, 8
ITEMS = [Hot(1, 8.0, NEWS), Hot(2, 4.0, MUSIC), Hot(3, 2.0, MUSIC), Hot(4, 1.0, 0)]


class Pick(unittest.TestCase):
    def test_the_hottest_of_what_is_liked_comes_first(self):
        self.assertEqual(pick(ITEMS, {MUSIC: 1.0}, (), 10), [(2, 0.5), (3, 0.25)])
        self.assertEqual(pick(ITEMS, {MUSIC: 1.0, NEWS: 0.25}, (), 2), [(2, 0.5), (1, 0.25)])

    def test_what_was_shown_is_left_out(self):
        self.assertEqual(pick(ITEMS, {MUSIC: 1.0}, {2}, 10), [(3, 0.25)])

    def test_who_likes_nothing_gets_nothing(self):
        self.assertEqual(pick(ITEMS, {}, (), 10), [])
        self.assertEqual(pick([], {MUSIC: 1.0}, (), 10), [])
