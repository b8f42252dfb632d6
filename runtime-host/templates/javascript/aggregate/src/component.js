// From batches to the functions in stage.js, and back.

import { finished, read, write } from "./stage.js";

const MINUTE_MS = 60_000;

export const aggregate = {
  declare() {
    const window = { sizeMs: MINUTE_MS, slideMs: MINUTE_MS };
    return { key: ["item"], window, allowedLatenessMs: 5 * MINUTE_MS };
  },

  aggregate(batches) {
    return batches.map(({ events }) => write(finished(events.map(({ completionRate }) => completionRate ?? 0))));
  },

  merge(parts) {
    return parts.map((parts) => write(parts.reduce((sum, part) => sum + read(part), 0)));
  },

  changes(panes) {
    return panes.map(({ key: [itemId], accumulator }) => {
      const amount = read(accumulator);
      return amount > 0 ? [{ tag: "count", val: { itemId, field: "finished_count", amount } }] : [];
    });
  },

  summary(windows) {
    return windows.map(() => []);
  },
};
