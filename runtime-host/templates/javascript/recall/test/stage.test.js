import assert from "node:assert/strict";
import { test } from "node:test";
import { pick } from "../src/stage.js";

const [MUSIC, NEWS] = [7, 8];
const ITEMS = [
  { handle: 1, heat: 8, category: NEWS },
  { handle: 2, heat: 4, category: MUSIC },
  { handle: 3, heat: 2, category: MUSIC },
  { handle: 4, heat: 1, category: 0 },
];

const picked = (liked, exclude = [], limit = 10) =>
  pick(ITEMS, new Map(liked), new Set(exclude), limit).map(({ handle, score }) => [handle, score]);

test("the hottest of what is liked comes first", () => {
  assert.deepEqual(picked([[MUSIC, 1]]), [[2, 0.5], [3, 0.25]]);
  assert.deepEqual(picked([[MUSIC, 1], [NEWS, 0.25]], [], 2), [[2, 0.5], [1, 0.25]]);
});

test("what was shown is left out", () => {
  assert.deepEqual(picked([[MUSIC, 1]], [2]), [[3, 0.25]]);
});

test("who likes nothing gets nothing", () => {
  assert.deepEqual(picked([]), []);
  assert.deepEqual(pick([], new Map([[MUSIC, 1]]), new Set(), 10), []);
});
