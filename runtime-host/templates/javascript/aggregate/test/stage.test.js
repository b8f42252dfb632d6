import assert from "node:assert/strict";
import { test } from "node:test";
import { finished, read, write } from "../src/stage.js";

test("the end counts and what comes before does not", () => {
  assert.equal(finished([0.2, 0.95, 1, 3]), 3);
});

test("an accumulator is read as it was written", () => {
  assert.equal(read(write(7)), 7);
  assert.throws(() => read(Uint8Array.of(1)));
});
