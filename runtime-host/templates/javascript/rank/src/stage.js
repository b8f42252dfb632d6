/**
 * A score for each of `rows` items: the sum of the columns' values, each times the
 * column's weight. A value that is missing (NaN) counts nothing.
 *
 * @param {number} rows
 * @param {Array<{weight: number, values: number[]}>} columns
 * @returns {number[]}
 */
export function weigh(rows, columns) {
  const known = (weight, value) => (Number.isNaN(value) ? 0 : weight * value);
  const score = (row) => columns.reduce((sum, { weight, values }) => sum + known(weight, values[row]), 0);
  return Array.from({ length: rows }, (_, row) => score(row));
}
