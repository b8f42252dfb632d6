// Whose experiments, which of them, and its report.
const field = (id) => document.getElementById(id);

async function asked(path) {
  const headers = { "X-Tenant-Id": field("tenant").value.trim(), "X-Request-Id": "page_" + Date.now().toString(36) + Math.random().toString(36).slice(2, 8) };
  headers.Authorization = "Bearer " + (field("token").value.trim() || "x");
  const answer = await fetch(path, { headers });
  const body = await answer.json().catch(() => undefined);
  if (!answer.ok) {
    const failed = new Error(body && body.error ? body.error.message : answer.status + " " + answer.statusText);
    failed.code = body && body.error ? body.error.code : undefined;
    throw failed;
  }
  return body;
}

async function pages(path, name) {
  const found = [];
  let cursor;
  do {
    const page = await asked(path + "?limit=100" + (cursor ? "&cursor=" + encodeURIComponent(cursor) : ""));
    found.push(...page[name]);
    cursor = page.next_cursor;
  } while (cursor && found.length < 1000);
  return found;
}

function tell(error) {
  field("report").replaceChildren(notice("bad", "That did not work", error.message));
}

let shownNow = 0;

async function show(scenario, experiment) {
  const mine = ++shownNow;
  for (const choice of field("list").querySelectorAll(".choice")) {
    if (choice.dataset.id === experiment.experiment_id) choice.setAttribute("aria-current", "true");
    else choice.removeAttribute("aria-current");
  }
  history.replaceState(null, "", "#" + [scenario, experiment.experiment_id].map(encodeURIComponent).join("/"));
  const path = "/api/v1/experiments/" + encodeURIComponent(scenario) + "/" + encodeURIComponent(experiment.experiment_id);
  let report;
  try {
    report = await asked(path + "/report");
  } catch (error) {
    if (error.code !== "experiment_status") throw error;
  }
  // Another was chosen meanwhile.
  if (mine === shownNow) field("report").replaceChildren(...reportView(experiment, report));
}

function choice(scenario, experiment) {
  const kind = { running: "good", stopped: "", draft: "faint" }[experiment.status];
  return element("button", { class: "choice", type: "button", "data-id": experiment.experiment_id, onclick: () => show(scenario, experiment).catch(tell) },
    experiment.name || experiment.experiment_id, " ", element("span", { class: "pill " + kind }, experiment.status),
    element("small", {}, (experiment.stopped_by ? "by its guardrail on " + nameOfMetric(experiment.stopped_by.metric).toLowerCase() + " · " : "") + (experiment.started_at || experiment.created_at || "").slice(0, 10)));
}

async function load() {
  for (const name of ["tenant", "token", "scenario"]) remember("experiments:" + name, field(name).value.trim());
  const scenarios = await pages("/api/v1/scenarios", "scenarios");
  field("scenarios").replaceChildren(...scenarios.map((one) => element("option", { value: one.scenario_id })));
  if (!field("scenario").value.trim() && scenarios.length) {
    // The first in which something runs.
    field("scenario").value = (scenarios.find((one) => (one.experiments || []).length) || scenarios[0]).scenario_id;
  }
  const scenario = field("scenario").value.trim();
  if (!scenario) throw new Error("the tenant has no scenario");
  const experiments = await pages("/api/v1/experiments/" + encodeURIComponent(scenario), "experiments");
  field("list").replaceChildren(...experiments.map((one) => choice(scenario, one)));
  if (!experiments.length) field("report").replaceChildren(notice("wait", "No experiments", "Nothing was made to compare in this scenario yet."));
  const [, wanted] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const first = experiments.find((one) => one.experiment_id === wanted) || experiments.find((one) => one.status === "running") || experiments[0];
  if (first) await show(scenario, first);
}

field("who").addEventListener("submit", (event) => {
  event.preventDefault();
  load().catch(tell);
});
for (const name of ["tenant", "token", "scenario"]) field(name).value = remembered("experiments:" + name, "");
const [scenarioOfHash] = location.hash.slice(1).split("/").map(decodeURIComponent);
if (scenarioOfHash) field("scenario").value = scenarioOfHash;
if (field("tenant").value) load().catch(tell);
