/**
 * The new score of each item, and the positions of all items, best first.
 *
 * @param {number[]} scores of the items
 * @param {number[]} categories of the items, as numbers
 * @param {Map<number, number>} preferred categories, and how much the user likes them, -1 to 1
 * @param {number} boost what the strongest preference lifts an item by, in parts of the
 *   distance from the best score to the worst
 */
export function lift(scores, categories, preferred, boost) {
  const span = Math.max(...scores) - Math.min(...scores);
  const step = boost * (span > 0 ? span : 1);
  const lifted = scores.map((score, position) => score + step * (preferred.get(categories[position]) ?? 0));
  const order = scores.map((_, position) => position).sort((one, other) => lifted[other] - lifted[one]);
  return { lifted, order };
}
