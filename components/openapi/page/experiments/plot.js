// Plots in SVG: how users were split, where a lift lies now, and how it went.
const NAMESPACE = document.querySelector("svg").namespaceURI;
const COLOURS = 8;

function drawn(name, attributes, ...children) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.flat());
  return made;
}

function colour(at) {
  return "var(--g" + (at % COLOURS) + ")";
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function percent(value, digits = 1) {
  if (!isNumber(value)) return "–";
  return (value > 0 ? "+" : "") + (100 * value).toFixed(Math.abs(value) >= 1 ? 0 : digits) + " %";
}

// Round steps that a range is cut into.
function steps(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((by) => by * ten).find((by) => by >= rough);
  const all = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) all.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return all;
}

// Users of each group, against a mark where they should be.
function splitPlot(groups) {
  const [width, left, row] = [520, 120, 26];
  const all = groups.reduce((sum, group) => sum + group.users, 0);
  const most = Math.max(1, ...groups.map((group) => Math.max(group.users, all * group.traffic_ratio)));
  const x = (users) => left + (width - left - 70) * users / most;
  const svg = drawn("svg", { class: "plot", viewBox: `0 0 ${width} ${row * groups.length + 4}`, role: "img", "aria-label": "Users of each group" });
  groups.forEach((group, at) => {
    const y = at * row;
    svg.append(
      drawn("text", { x: left - 8, y: y + 17, "text-anchor": "end" }, shortened(group.group_id, 17)),
      drawn("rect", { x: left, y: y + 5, width: Math.max(1, x(group.users) - left), height: 16, rx: 3, fill: colour(at), opacity: .8 }),
      drawn("line", { x1: x(all * group.traffic_ratio), x2: x(all * group.traffic_ratio), y1: y + 2, y2: y + 24, stroke: "var(--text)", "stroke-width": 2 }),
      drawn("text", { x: Math.max(x(group.users), x(all * group.traffic_ratio)) + 6, y: y + 17 }, group.users.toLocaleString("en")),
    );
  });
  return svg;
}

function shortened(text, most) {
  return text.length > most ? text.slice(0, most - 1) + "…" : text;
}

// Between what values a plot of lifts is drawn: all lifts, and the last intervals; what is wider
// than that was drawn before much was known, and is cut off.
function rangeOf(series, margin) {
  const values = [0];
  for (const { points } of series) {
    const known = points.filter((point) => point && isNumber(point.lift));
    const last = known.at(-1);
    if (!last) continue;
    const half = last.lift_interval ? Math.max(last.lift_interval[1] - last.lift, last.lift - last.lift_interval[0]) : 0;
    values.push(last.lift - 1.6 * half, last.lift + 1.6 * half);
    values.push(...known.slice(Math.floor(known.length / 3)).map((point) => point.lift));
  }
  if (isNumber(margin)) values.push(1.2 * margin);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = 0.08 * (high - low) || 0.01;
  return [low - pad, high + pad];
}

function instant(ms, withTime) {
  const text = new Date(ms).toISOString();
  return withTime ? text.slice(0, 16).replace("T", " ") : text.slice(5, 10);
}

// The lift of each group over time, within what it may be at every look at once.
function liftPlot(at_ms, series, margin, say) {
  const [width, height, left, right, top, bottom] = [560, 210, 52, 12, 8, 22];
  const [from, to] = [at_ms[0], Math.max(at_ms.at(-1), at_ms[0] + 1)];
  const [low, high] = rangeOf(series, margin);
  const x = (ms) => left + (width - left - right) * (at_ms.length < 2 ? 1 : (ms - from) / (to - from));
  const y = (lift) => top + (height - top - bottom) * (high - lift) / (high - low);
  const clip = "clip-" + Math.random().toString(36).slice(2);
  const svg = drawn("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Lift over time" });
  svg.append(drawn("clipPath", { id: clip }, drawn("rect", { x: left, y: top, width: width - left - right, height: height - top - bottom })));
  for (const lift of steps(low, high, 4)) {
    svg.append(
      drawn("line", { class: lift === 0 ? "zero" : "axis", x1: left, x2: width - right, y1: y(lift), y2: y(lift) }),
      drawn("text", { x: left - 6, y: y(lift) + 4, "text-anchor": "end" }, percent(lift, 1).replace(".0", "")),
    );
  }
  const days = to - from > 3 * 86400000;
  [0, .5, 1].slice(0, at_ms.length < 2 ? 1 : 3).forEach((part) => {
    const ms = at_ms.length < 2 ? to : from + part * (to - from);
    const anchor = at_ms.length < 2 || part === 1 ? "end" : part === 0 ? "start" : "middle";
    svg.append(drawn("text", { x: x(ms), y: height - 5, "text-anchor": anchor }, days ? instant(ms) : instant(ms, true)));
  });
  const inside = drawn("g", { "clip-path": `url(#${clip})` });
  if (isNumber(margin)) inside.append(drawn("line", { class: "margin", x1: left, x2: width - right, y1: y(margin), y2: y(margin) }));
  for (const one of series) {
    const known = one.points.map((point, at) => ({ ...point, ms: at_ms[at] })).filter((point) => isNumber(point.lift));
    const banded = known.filter((point) => point.lift_interval);
    const path = (points, of) => points.map((point, at) => (at ? "L" : "M") + x(point.ms).toFixed(1) + " " + y(of(point)).toFixed(1)).join("");
    if (banded.length > 1) {
      const back = path([...banded].reverse(), (point) => point.lift_interval[0]).replace("M", "L");
      inside.append(drawn("path", { class: "band", fill: colour(one.at), d: path(banded, (point) => point.lift_interval[1]) + back + "Z" }));
    }
    inside.append(drawn("path", { class: "line", stroke: colour(one.at), d: path(known, (point) => point.lift) }));
    const last = known.at(-1);
    if (!last) continue;
    if (last.lift_interval) inside.append(drawn("line", { x1: x(last.ms) - 1, x2: x(last.ms) - 1, y1: y(last.lift_interval[0]), y2: y(last.lift_interval[1]), stroke: colour(one.at), "stroke-width": 2 }));
    inside.append(drawn("circle", { cx: x(last.ms) - 1, cy: y(last.lift), r: 4, fill: colour(one.at) }));
  }
  const cursor = drawn("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" });
  svg.append(inside, cursor);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const ms = from + ((event.clientX - box.left) / box.width * width - left) / (width - left - right) * (to - from);
    const nearest = at_ms.reduce((best, one, at) => (Math.abs(one - ms) < Math.abs(at_ms[best] - ms) ? at : best), 0);
    for (const key of ["x1", "x2"]) cursor.setAttribute(key, x(at_ms[nearest]));
    cursor.setAttribute("visibility", "visible");
    say(nearest);
  });
  svg.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); say(); });
  return svg;
}
