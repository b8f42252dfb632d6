// The report of an interleaving: for which of two rankings users voted.
const CREDITS = {
  clicks: ["Clicks", "Who clicked more of the items of one ranking has a vote for it."],
  watch_time: ["Watch time", "Who watched the items of one ranking for longer has a vote for it."],
  conversions: ["Conversions", "Who converted by more of the items of one ranking has a vote for it."],
};

function share(value) {
  return isNumber(value) ? (100 * value).toFixed(1) + " %" : "–";
}

// The share of votes for the treatment and where it lies, against a half.
function sharePlot(of) {
  const [width, height, left, right] = [520, 62, 16, 16];
  const x = (value) => left + (width - left - right) * value;
  const svg = drawn("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "The treatment's share of votes" });
  svg.append(drawn("line", { class: "axis", x1: x(0), x2: x(1), y1: 22, y2: 22 }), drawn("line", { class: "zero", x1: x(.5), x2: x(.5), y1: 4, y2: 40 }));
  [[0, "start"], [.5, "middle"], [1, "end"]].forEach(([at, anchor]) => svg.append(drawn("text", { x: x(at), y: 56, "text-anchor": anchor }, 100 * at + " %")));
  if (of.interval) svg.append(drawn("line", { x1: x(of.interval[0]), x2: x(of.interval[1]), y1: 22, y2: 22, stroke: colour(1), "stroke-width": 4 }));
  svg.append(drawn("circle", { cx: x(of.share), cy: 22, r: 6, fill: colour(1) }));
  return svg;
}

function judgedVotes(of) {
  if (!of.is_significant) return ["unclear", "faint"];
  return of.share > .5 ? ["better", "good"] : ["worse", "bad"];
}

function votesCard(report, of) {
  const [title, about] = CREDITS[of.metric] || [of.metric, ""];
  const [word, kind] = judgedVotes(of);
  const group = (group_id, isControl) => swatch(isControl ? 0 : 1, { group_id, is_control: isControl });
  const lies = of.interval ? share(of.interval[0]) + " to " + share(of.interval[1]) : "–";
  return element("section", { class: "card" }, element("h3", {}, title), element("p", { class: "faint" }, about), sharePlot(of),
    element("div", { class: "scroll" }, element("table", {}, head(["Ranking", "Votes", ["Share", small("and where it lies")], "p", ""]),
      row(group(report.control, true), of.control_users.toLocaleString("en"), share(1 - of.share), "", ""),
      row(group(report.treatment, false), of.treatment_users.toLocaleString("en"), [share(of.share), small(lies)], pValue(of.p_value),
        [element("span", { class: kind }, word), of.days_left ? small(of.days_left + " days left") : ""]))),
    element("p", { class: "faint" }, `${of.ties.toLocaleString("en")} users gave both the same.`), wentPlot(report, of.metric));
}

// How far the share was from a half at each look.
function wentPlot(report, metric) {
  const history = report.history;
  const went = history && history.series.find((one) => one.metric === metric);
  if (!went) return undefined;
  const over = (value) => value - .5;
  const points = went.points.map((point) => point && { lift: over(point.share), lift_interval: point.interval && point.interval.map(over) });
  const readout = element("div", { class: "readout" });
  const say = (look) => {
    const at = look ?? history.at_ms.length - 1;
    const point = went.points[at];
    const lies = point && point.interval ? ` (${share(point.interval[0])} to ${share(point.interval[1])})` : "";
    readout.textContent = instant(history.at_ms[at], true) + " · " + (point ? share(point.share) + lies : "nothing was known");
  };
  say();
  const plot = liftPlot(history.at_ms, [{ ...went, points, at: 1 }], undefined, say);
  return element("div", {}, element("p", { class: "faint" }, "Its share over a half, over time."), plot, readout);
}

function votesView(report) {
  const { control, treatment, nobody } = report.places;
  const of = (count) => count.toLocaleString("en");
  const about = element("p", { class: "faint" }, `${of(report.users)} users were shown slates that both rankings drafted: ` +
    `${of(control)} places by “${report.control}”, ${of(treatment)} by “${report.treatment}”, ${of(nobody)} by neither.`);
  return [about, element("div", { class: "cards" }, report.preferences.map((one) => votesCard(report, one)))];
}
