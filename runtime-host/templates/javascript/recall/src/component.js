// From the request to the function in stage.js, and back.

import { columns, hot } from "funnelweb:tenant/catalogue@0.1.0";
import { hash } from "funnelweb:tenant/values@0.1.0";
import { pick } from "./stage.js";

const COLUMN = "category";
// As many as the catalogue gives at a time.
const HOT = 1000;

export const recall = {
  check(params) {
    try {
      read(params);
    } catch (error) {
      throw { path: "", message: error.message };
    }
    return { columns: [], items: [], personal: { preferences: true } };
  },

  recall({ context, limit, exclude, params }) {
    const liked = context.user.preferences
      .filter(({ field, score }) => field === COLUMN && score > 0)
      .slice(0, read(params).categories);
    if (liked.length === 0) return { handles: [], scores: [] };
    const hashes = hash(liked.map(({ value }) => value));
    const likings = new Map(liked.map(({ score }, index) => [hashes[index], score]));
    const picked = pick(hotItems(), likings, new Set(exclude), limit);
    return { handles: picked.map(({ handle }) => handle), scores: picked.map(({ score }) => score) };
  },
};

function hotItems() {
  try {
    const { handles, scores } = hot(HOT);
    const { found, table } = columns(handles, [{ name: COLUMN, kind: "categorical" }]);
    return Array.from(found, (at, row) => ({
      handle: handles[at],
      heat: scores[at],
      category: table.categorical[row],
    }));
  } catch (error) {
    // The catalogue's own error is the payload: `{ tag, val }`.
    throw { code: "unavailable", message: error.payload?.val ?? String(error) };
  }
}

function read(params) {
  return { categories: 3, ...JSON.parse(params || "{}") };
}
