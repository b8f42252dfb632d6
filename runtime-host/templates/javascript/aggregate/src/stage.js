/** What counts as the end. */
const END = 0.95;

/** How many of these parts of an item, where 1 is all of it, reach the end. */
export function finished(parts) {
  return parts.filter((part) => part >= END).length;
}

/** An accumulator is a count. */
export function write(count) {
  return new Uint8Array(Float64Array.of(count).buffer);
}

export function read(accumulator) {
  if (accumulator.length !== 8) throw `an accumulator of ${accumulator.length} bytes`;
  return new Float64Array(Uint8Array.from(accumulator).buffer)[0];
}
