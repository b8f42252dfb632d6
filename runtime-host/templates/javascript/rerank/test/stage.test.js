import assert from "node:assert/strict";
import { test } from "node:test";
import { lift } from "../src/stage.js";

const [MUSIC, NEWS] = [7, 8];
const order = (scores, categories, preferred) =>
  lift(scores, categories, new Map(preferred), 0.5).order;

test("what is liked rises and what is disliked falls", () => {
  assert.deepEqual(order([0.9, 0.8, 0.4], [NEWS, MUSIC, MUSIC], [[MUSIC, 1]]), [1, 0, 2]);
  assert.deepEqual(order([0.9, 0.8, 0.4], [NEWS, MUSIC, MUSIC], [[NEWS, -1]]), [1, 0, 2]);
});

test("who has no preferences gets the list as it was", () => {
  assert.deepEqual(order([0.9, 0.8, 0.8], [NEWS, MUSIC, 0], []), [0, 1, 2]);
  assert.deepEqual(order([], [], [[MUSIC, 1]]), []);
});

test("equal scores are parted by the boost alone", () => {
  const { lifted, order } = lift([1, 1], [NEWS, MUSIC], new Map([[MUSIC, 1]]), 0.5);
  assert.deepEqual([lifted, order], [[1, 1.5], [1, 0]]);
});
