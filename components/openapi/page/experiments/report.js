// A report as cards.
const METRICS = {
  ctr: ["Click-through rate", "Clicks by impressions, or by items served where no client reports impressions.", (value) => (100 * value).toFixed(2) + " %"],
  watch_time: ["Watch time", "Seconds a watch.", (value) => value.toFixed(1) + " s"],
  conversion_rate: ["Conversion", "The share of users who converted.", (value) => (100 * value).toFixed(2) + " %"],
  revenue: ["Revenue", "Of a user.", (value) => value.toLocaleString("en", { maximumFractionDigits: 3 })],
  latency_ms: ["Latency", "Milliseconds from the beginning of a slate's funnel to its end; less is better.", (value) => value.toFixed(1) + " ms"],
  cost_ms: ["Sandbox cost", "Milliseconds that stages had for a slate, all calls together; less is better.", (value) => value.toFixed(1) + " ms"],
};

function nameOfMetric(metric) {
  return metric === "sample_ratio" ? "Sample ratio" : (METRICS[metric] || [metric])[0];
}

function pValue(value) {
  if (!isNumber(value)) return "–";
  return value < 0.0001 ? "< 0.0001" : value.toFixed(value < 0.01 ? 4 : 3);
}

function between(ends) {
  return ends ? percent(ends[0]) + " to " + percent(ends[1]) : "–";
}

function notice(kind, title, ...text) {
  return element("p", { class: "notice " + kind, role: kind === "bad" ? "alert" : undefined }, element("strong", {}, title), ...text);
}

function head(names) {
  return element("tr", {}, names.map((name, at) => element("th", { class: at ? "number" : undefined, scope: "col" }, name)));
}

function row(...cells) {
  return element("tr", {}, cells.map((cell, at) => element("td", { class: at ? "number" : undefined }, cell)));
}

function swatch(at, group) {
  return element("span", {}, element("i", { class: "swatch", style: "background:" + colour(at) }), shortened(group.group_id, 28), group.is_control ? element("small", {}, "control") : "");
}

function small(text) {
  return element("small", {}, text);
}

function why(by) {
  if (by.metric === "sample_ratio") return "Groups did not get the users that they should have (p " + pValue(by.p_value) + ").";
  const margin = by.margin ? "a margin of " + (100 * by.margin).toFixed(1) + " %" : "no margin";
  return `In “${by.group_id}” its lift lies between ${between(by.lift_bounds)}, with ${margin}.`;
}

function notices(report) {
  const found = [];
  if (report.stopped_by) found.push(notice("bad", "Stopped by its guardrail on " + nameOfMetric(report.stopped_by.metric).toLowerCase(), why(report.stopped_by)));
  const mismatch = report.sample_ratio_mismatch;
  if (mismatch && mismatch.found) found.push(notice("bad", "Users are lost or counted twice", `Groups are not of the sizes that they should be (p ${pValue(mismatch.p_value)}): nothing else here can be believed.`));
  if (report.incomplete) found.push(notice("wait", "Incomplete", "Some of what it is about was kept no more when it was read: it is of users who are known, and nothing is said of chance."));
  if (report.is_full) found.push(notice("wait", "Many users", "It is of those who came first; further ones are not counted."));
  return found;
}

function groupsCard(report) {
  const all = report.groups.reduce((sum, group) => sum + group.users, 0);
  const times = report.groups.filter((group) => group.times);
  const card = element("section", { class: "card" }, element("h3", {}, "Users"),
    element("p", { class: "faint" }, "Of each group; the mark is where it should be. ",
      report.sample_ratio_mismatch.found ? element("b", { class: "bad" }, "Sizes are wrong") : "Sizes are as they may be",
      ` (p ${pValue(report.sample_ratio_mismatch.p_value)}).`, report.crossed_users ? ` ${report.crossed_users} were in two groups and count in none.` : ""),
    splitPlot(report.groups),
    element("div", { class: "scroll" }, element("table", {},
      head(["Group", "Users", "Should be", "Clicks", "Conversions"]),
      report.groups.map((group, at) => row(swatch(at, group), group.users.toLocaleString("en"),
        Math.round(all * group.traffic_ratio).toLocaleString("en"), group.counts.clicks.toLocaleString("en"), group.counts.conversions.toLocaleString("en"))))));
  if (!times.length) return [card];
  const ms = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
  const spread = (of) => [ms(of.p50) + " · " + ms(of.p95) + " · " + ms(of.mean)];
  const timed = element("section", { class: "card" }, element("h3", {}, "Latency and sandbox cost"),
    element("p", { class: "faint" }, "Milliseconds a slate: to its end, and that stages had for it."),
    element("div", { class: "scroll" }, element("table", {},
      head(["Group", "Slates", ["Latency", small("p50 · p95 · mean")], ["Cost", small("p50 · p95 · mean")]]),
      report.groups.map((group, at) => group.times && row(swatch(at, group), group.times.slates.toLocaleString("en"),
        spread(group.times.latency_ms), spread(group.times.cost_ms))))));
  return [card, timed];
}

function guardrailsCard(report) {
  if (!(report.guardrails || []).length) return [];
  const words = { harm: ["Harm", "bad"], safe: ["Safe", "good"], open: ["Open", "wait"] };
  return [element("section", { class: "card" }, element("h3", {}, "Guardrails"),
    element("p", { class: "faint" }, "Harm stops the experiment: all of the bounds are beyond the margin."),
    element("div", { class: "scroll" }, element("table", {}, head(["Metric", "Margin", "Bounds of the lift", "Verdict"]),
      report.guardrails.map((of) => {
        const [word, kind] = words[of.verdict] || [of.verdict, ""];
        const bounds = of.metric === "sample_ratio" ? "p " + pValue(of.p_value) : between(of.lift_bounds);
        return row([nameOfMetric(of.metric), small("in " + (of.group_id || "all groups"))], of.metric === "sample_ratio" ? "–" : (100 * of.margin).toFixed(1) + " %", bounds,
          element("span", { class: "pill " + kind, title: of.missing }, word));
      }))))];
}

function judged(of) {
  if (!of.is_significant) return ["unclear", "faint"];
  const isBetter = (of.difference < 0) === of.less_is_better;
  return isBetter ? ["better", "good"] : ["worse", "bad"];
}

function metricCard(report, metric) {
  const [title, about, shown] = METRICS[metric] || [metric, "", String];
  const compared = report.comparisons.filter((of) => of.metric === metric);
  const place = (id) => report.groups.findIndex((group) => group.group_id === id);
  const control = report.groups.find((group) => group.is_control);
  const table = element("table", {}, head(["Group", "Value", ["Lift", small("and where it lies")], "p", ""]),
    report.groups.filter((group) => group.metrics[metric]).map((group) => {
      const of = compared.find((one) => one.group_id === group.group_id);
      const name = swatch(place(group.group_id), group);
      const value = shown(group.metrics[metric].value);
      if (!of) return row(name, value, "", "", "");
      const [word, kind] = judged(of);
      return row(name, value, [percent(of.lift), small(between(of.lift_interval))], pValue(of.p_value),
        [element("span", { class: kind, title: of.missing }, of.missing ? "too early" : word), of.days_left ? small(of.days_left + " days left") : ""]);
    }));
  const card = element("section", { class: "card" }, element("h3", {}, title), element("p", { class: "faint" }, about), element("div", { class: "scroll" }, table));
  const history = report.history;
  const series = ((history && history.series) || []).filter((one) => one.metric === metric && control && one.control === control.group_id)
    .map((one) => ({ ...one, at: place(one.group_id) })).filter((one) => one.at >= 0 && one.points.some((point) => point && isNumber(point.lift)));
  if (!series.length) return card;
  const guardrail = (report.guardrails || []).find((of) => of.metric === metric);
  const lessIsBetter = compared.some((of) => of.less_is_better);
  const margin = guardrail ? (lessIsBetter ? guardrail.margin : -guardrail.margin) : undefined;
  const readout = element("div", { class: "readout" });
  const say = (look) => {
    const at = look ?? history.at_ms.length - 1;
    const of = series.map((one) => one.points[at] && `${one.group_id} ${percent(one.points[at].lift)} (${between(one.points[at].lift_interval)})`).filter(Boolean);
    readout.textContent = instant(history.at_ms[at], true) + " · " + (of.join(" · ") || "nothing was known");
  };
  say();
  card.append(liftPlot(history.at_ms, series, margin, say), readout);
  return card;
}

function reportView(experiment, report) {
  const kind = { running: "good", stopped: "", draft: "faint" }[experiment.status];
  const top = [element("h2", {}, experiment.name || experiment.experiment_id, " ", element("span", { class: "pill " + kind }, experiment.status))];
  if (experiment.hypothesis) top.push(element("p", {}, experiment.hypothesis));
  if (!report) return [...top, notice("wait", "No report yet", "The job `experiments` makes one every hour while it runs, or when it is asked to.")];
  top.push(element("p", { class: "faint" }, `${experiment.experiment_id} · ${report.days.toFixed(1)} days, up to ${report.at.slice(0, 16).replace("T", " ")} UTC · may be looked at any day, with ${100 * report.alpha} % of false alarms over all looks`));
  if (report.type === "interleaving") return [...top, ...notices(report), ...votesView(report)];
  const metrics = Object.keys(METRICS).filter((metric) => report.groups.some((group) => group.metrics[metric]));
  return [...top, ...notices(report), element("div", { class: "cards" }, groupsCard(report), guardrailsCard(report), metrics.map((metric) => metricCard(report, metric)))];
}
