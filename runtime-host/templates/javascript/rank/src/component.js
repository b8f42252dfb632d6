// From the request to the function in stage.js, and back.

import { weigh } from "./stage.js";

const COLUMNS = ["quality", "price"];
const WEIGHTS = { recall: 1, quality: 1, price: -0.1 };

export const rank = {
  check(params) {
    try {
      read(params);
    } catch (error) {
      throw { path: "", message: error.message };
    }
    const columns = COLUMNS.map((name) => ({ name, kind: "numeric" }));
    return { columns, items: [], personal: {} };
  },

  rank({ candidates, items, params }) {
    const weights = read(params);
    const columns = COLUMNS.map((name) => ({ weight: weights[name], values: column(items, name) }));
    columns.push({ weight: weights.recall, values: candidates.scores });
    return weigh(items.rows, columns);
  },
};

/** The cells of a column, row by row; all missing (NaN) where there is no such column. */
function column({ rows, numericNames, numeric }, name) {
  const [width, at] = [numericNames.length, numericNames.indexOf(name)];
  return Array.from({ length: rows }, (_, row) => (at < 0 ? NaN : numeric[row * width + at]));
}

function read(params) {
  return { ...WEIGHTS, ...JSON.parse(params || "{}") };
}
