/**
 * The items of the categories that are liked with their scores, best first. A score is
 * the share that an item has of the greatest heat, times how much the user likes its
 * category: above 0, at most 1.
 *
 * @param {Array<{handle: number, heat: number, category: number}>} items
 * @param {Map<number, number>} liked categories, and how much the user likes them, above 0
 * @param {Set<number>} exclude handles of items that were shown
 * @param {number} limit
 * @returns {Array<{handle: number, score: number}>}
 */
export function pick(items, liked, exclude, limit) {
  const most = Math.max(0, ...items.map(({ heat }) => heat));
  return items
    .filter(({ handle, heat, category }) => heat > 0 && liked.has(category) && !exclude.has(handle))
    .map(({ handle, heat, category }) => ({ handle, score: (heat / most) * liked.get(category) }))
    .sort((one, other) => other.score - one.score)
    .slice(0, limit);
}
