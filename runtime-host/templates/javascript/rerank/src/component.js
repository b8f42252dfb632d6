// From the request to the function in stage.js, and back.

import { hash } from "funnelweb:tenant/values@0.1.0";
import { lift } from "./stage.js";

const COLUMN = "category";

export const rerank = {
  check(params) {
    try {
      read(params);
    } catch (error) {
      throw { path: "", message: error.message };
    }
    const columns = [{ name: COLUMN, kind: "categorical" }];
    return { columns, items: [], personal: { preferences: true } };
  },

  rerank({ context, candidates, rows, items, weight, params }) {
    const { boost } = read(params);
    const width = items.categoricalNames.length;
    const column = items.categoricalNames.indexOf(COLUMN);
    // 0, no category, where there is no such column.
    const categories = Array.from(rows, (row) => (column < 0 ? 0 : items.categorical[row * width + column]));
    const preferences = context.user.preferences.filter(({ field }) => field === COLUMN);
    const hashes = hash(preferences.map(({ value }) => value));
    const preferred = new Map(preferences.map(({ score }, index) => [hashes[index], score]));
    const { lifted, order } = lift(Array.from(candidates.scores), categories, preferred, boost * weight);
    return {
      handles: order.map((position) => candidates.handles[position]),
      scores: order.map((position) => lifted[position]),
      removed: [],
    };
  },
};

function read(params) {
  return { boost: 0.5, ...JSON.parse(params || "{}") };
}
