import assert from "node:assert/strict";
import { test } from "node:test";
import { weigh } from "../src/stage.js";

const columns = (...columns) => columns.map(([weight, values]) => ({ weight, values }));

test("a score is the sum of weight times value", () => {
  assert.deepEqual(weigh(2, columns([1, [0.5, 1]], [2, [0.25, 0]], [-0.5, [4, 1]])), [-1, 0.5]);
});

test("what is missing counts nothing", () => {
  assert.deepEqual(weigh(1, columns([1, [0.5]], [2, [NaN]])), [0.5]);
  assert.deepEqual(weigh(0, columns([1, []])), []);
});
