// Trying an operation: a form, the same as a command, and what came back.
const identity = [
  ["X-Tenant-Id", "tenant_123"],
  ["X-User-Id", "user_456"],
  ["X-Request-Id", ""],
  ["Authorization", "Bearer "],
];

function identityForm(place) {
  for (const [name, otherwise] of identity) {
    const input = element("input", {
      value: remembered(name, otherwise), id: "header-" + name, autocomplete: "off",
      placeholder: name === "X-Request-Id" ? "a new one each time" : "",
      oninput: (event) => remember(name, event.target.value),
    });
    place.append(element("label", { for: "header-" + name }, name, input));
  }
}

function identityHeaders() {
  const headers = {};
  for (const [name] of identity) {
    const value = document.getElementById("header-" + name).value.trim();
    if (value && value !== "Bearer") headers[name] = value;
  }
  if (!headers["X-Request-Id"]) headers["X-Request-Id"] = "docs_" + Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  return headers;
}

function quoted(text) {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}

function asCommand(request) {
  const lines = ["curl -X " + request.method + " " + quoted(location.origin + request.url)];
  for (const [name, value] of Object.entries(request.headers)) lines.push("-H " + quoted(name + ": " + value));
  if (request.body) lines.push("--data-binary " + quoted(request.body));
  return lines.join(" \\\n  ");
}

// The request that a form's fields make.
function requestOf(method, path, fields, body) {
  const query = new URLSearchParams();
  const headers = identityHeaders();
  let url = path;
  for (const { parameter, input } of fields) {
    const value = input.value.trim();
    if (parameter.in === "path") url = url.replace("{" + parameter.name + "}", encodeURIComponent(value));
    else if (!value) continue;
    else if (parameter.in === "query") query.set(parameter.name, value);
    else headers[parameter.name] = value;
  }
  if (body) headers["Content-Type"] = body.type.value;
  const text = query.toString();
  return { method: method.toUpperCase(), url: url + (text ? "?" + text : ""), headers, body: body ? body.text.value : undefined };
}

function pretty(text, type) {
  if (!(type || "").includes("json")) return text;
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function exampleOf(content, type) {
  const example = content[type].example;
  if (example === undefined) return "";
  return typeof example === "string" ? example : JSON.stringify(example, null, 2);
}

function bodyFields(content, id) {
  const text = element("textarea", { id: id + "-body", spellcheck: "false" });
  const type = element("select", { id: id + "-type", onchange: () => { text.value = exampleOf(content, type.value); } },
    Object.keys(content).map((name) => element("option", { value: name }, name)));
  text.value = exampleOf(content, type.value);
  return { type, text };
}

function tryForm(method, path, operation, parameters, resolve) {
  const id = operation.operationId;
  const shown = parameters.filter((parameter) => !identity.some(([name]) => name === parameter.name));
  const fields = shown.map((parameter) => {
    const schema = resolve(parameter.schema) || {};
    const choices = schema.type === "boolean" ? ["true", "false"] : schema.enum;
    const input = choices
      ? element("select", { id: id + "-" + parameter.name }, ["", ...choices].map((choice) => element("option", { value: choice }, choice)))
      : element("input", { id: id + "-" + parameter.name, required: parameter.required, autocomplete: "off" });
    return { parameter, input };
  });
  const body = operation.requestBody && bodyFields(operation.requestBody.content, id);
  const answer = element("div", { "aria-live": "polite" });
  const send = async (event) => {
    event.preventDefault();
    const request = requestOf(method, path, fields, body);
    const started = performance.now();
    answer.replaceChildren(element("p", {}, "…"));
    try {
      const { url, ...options } = request;
      const response = await fetch(url, options);
      const text = await response.text();
      const took = (performance.now() - started).toFixed(1);
      const headers = [...response.headers].map(([name, value]) => name + ": " + value).join("\n");
      answer.replaceChildren(
        element("h4", {}, response.status + " " + response.statusText + ", " + took + " ms, " + text.length + " characters"),
        element("pre", {}, headers), text ? element("pre", {}, pretty(text, response.headers.get("content-type"))) : "");
    } catch (error) {
      answer.replaceChildren(element("p", {}, "No answer: " + error.message));
    }
    answer.append(element("h4", {}, "The same as a command"), element("pre", {}, asCommand(request)));
  };
  return element("form", { onsubmit: send },
    fields.length ? element("div", { class: "fields" }, fields.map(({ parameter, input }) =>
      element("label", { for: input.id }, parameter.name + (parameter.required ? " (required)" : ""), input))) : "",
    body ? element("div", {}, element("label", { for: body.type.id }, "Content-Type", body.type),
      element("label", { for: body.text.id }, "Body", body.text)) : "",
    element("div", { class: "row" }, element("button", {}, "Send")), answer);
}
