// The page, from the document.
function parameterTable(parameters, resolve) {
  if (!parameters.length) return "";
  return [element("h4", {}, "Parameters"), element("table", {}, parameters.map((parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name), element("div", { class: "faint" }, parameter.in + (parameter.required ? ", required" : ""))),
    element("td", { class: "mono" }, typeOf(parameter.schema, resolve)),
    element("td", {}, prose(parameter.description || (resolve(parameter.schema) || {}).description)))))];
}

function bodySection(body, resolve) {
  if (!body) return "";
  return [element("h4", {}, "Body"), element("p", {}, prose(body.description)),
    Object.entries(body.content).map(([type, media]) => element("div", {},
      element("code", {}, type), schemaTree(media.schema, resolve)))];
}

function responseTable(responses, resolve) {
  const rows = Object.entries(responses).map(([status, written]) => {
    const response = resolve(written);
    const media = (response.content || {})["application/json"];
    return element("tr", {}, element("td", { class: "mono" }, status),
      element("td", {}, prose(response.description),
        media && status < 300 ? element("details", { class: "schema" },
          element("summary", { class: "mono" }, typeOf(media.schema, resolve)), schemaTree(media.schema, resolve)) : ""));
  });
  return [element("h4", {}, "Responses"), element("table", {}, rows)];
}

function operationSection(method, path, operation, resolve) {
  const parameters = (operation.parameters || []).map(resolve);
  const inside = element("div");
  const section = element("details", { class: "operation", id: operation.operationId },
    element("summary", {}, element("span", { class: "method " + method }, method), element("code", {}, path),
      element("span", { class: "faint" }, operation.summary)), inside);
  section.addEventListener("toggle", () => {
    if (!section.open || inside.children.length) return;
    inside.append(element("p", {}, prose(operation.description)),
      ...[parameterTable(parameters, resolve), bodySection(operation.requestBody, resolve),
        responseTable(operation.responses, resolve), element("h4", {}, "Try it"),
        tryForm(method, path, operation, parameters, resolve)].flat(2).filter(Boolean));
  });
  return section;
}

function errorTable(place, codes) {
  place.append(element("h2", {}, "Error codes"), element("table", {},
    element("tr", {}, ["code", "status", "meaning"].map((name) => element("th", {}, name))),
    codes.map((row) => element("tr", {}, element("td", { class: "mono" }, row.code), element("td", {}, row.status), element("td", {}, prose(row.meaning))))));
}

function schemaList(place, schemas, resolve) {
  place.append(element("h2", {}, "Schemas"), ...Object.keys(schemas).map((name) => {
    const open = element("details", { class: "operation", id: "schema-" + name }, element("summary", {}, element("code", {}, name)));
    open.addEventListener("toggle", () => {
      if (open.open && open.children.length === 1) open.append(element("div", {}, element("p", { class: "mono" }, typeOf(schemas[name], resolve)), schemaTree(schemas[name], resolve)));
    });
    return open;
  }));
}

function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named && named.tagName === "DETAILS") { named.open = true; named.scrollIntoView(); }
}

function show(api) {
  const resolve = resolver(api);
  const index = document.getElementById("index");
  const operations = document.getElementById("operations");
  document.getElementById("about").replaceChildren(...prose(api.info.summary + ". Version " + api.info.version + ". " + api.info.description + " "),
    element("a", { href: "/openapi.json" }, "OpenAPI " + api.openapi));
  for (const tag of api.tags) {
    const links = element("div", {}, element("h3", {}, tag.name));
    operations.append(element("h2", {}, tag.name), element("p", {}, prose(tag.description)));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags[0] !== tag.name) continue;
        operations.append(operationSection(method, path, operation, resolve));
        links.append(element("a", { href: "#" + operation.operationId, title: method.toUpperCase() + " " + path }, operation.summary));
      }
    }
    index.append(links);
  }
  errorTable(document.getElementById("errors"), api.components.schemas.ErrorCode["x-error-codes"]);
  schemaList(document.getElementById("schemas"), api.components.schemas, resolve);
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const link of index.querySelectorAll("a")) link.hidden = !(link.textContent + " " + link.title).toLowerCase().includes(wanted);
  });
  addEventListener("hashchange", openNamed);
  openNamed();
}

identityForm(document.getElementById("headers"));
fetch("/openapi.json").then((response) => response.json()).then(show).catch((error) => {
  document.getElementById("about").textContent = "The description did not load: " + error.message;
});
