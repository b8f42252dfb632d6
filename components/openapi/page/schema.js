// `code` in backticks; the rest as it is.
function prose(text) {
  return (text || "").split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

function resolver(api) {
  return function resolve(value) {
    let found = value;
    while (found && found.$ref) {
      found = found.$ref.slice(2).split("/").reduce((at, key) => at[key.replace(/~1/g, "/").replace(/~0/g, "~")], api);
    }
    return found;
  };
}

function nameOf(schema) {
  return schema && schema.$ref ? schema.$ref.split("/").pop() : undefined;
}

// The type in a few words: `Item[]`, `integer, 1 to 200, default 20`.
function typeOf(schema, resolve) {
  const name = nameOf(schema);
  const of = resolve(schema) || {};
  if (of.oneOf) return of.oneOf.map((one) => typeOf(one, resolve)).join(" or ");
  if (of.type === "array") return typeOf(of.items, resolve) + "[]";
  if (name && of.type === "object") return name;
  const words = [];
  if (of.enum && of.enum.length <= 5) words.push(of.enum.join(" | "));
  else words.push([].concat(of.type || "any").join(" or "));
  if (of.const !== undefined) words.push("always " + of.const);
  if (of.minimum !== undefined && of.maximum !== undefined) words.push(of.minimum + " to " + of.maximum);
  else if (of.minimum !== undefined) words.push("at least " + of.minimum);
  if (of.maxLength !== undefined) words.push("at most " + of.maxLength + " bytes");
  if (of.default !== undefined && typeof of.default !== "object") words.push("default " + of.default);
  if (of.readOnly) words.push("read only");
  return words.join(", ");
}

// A tree that opens where it is asked to; a schema may contain itself.
function schemaTree(schema, resolve) {
  const of = resolve(schema) || {};
  if (of.oneOf) {
    return element("div", {}, of.oneOf.map((one) => element("div", { class: "schema" },
      element("span", { class: "mono" }, typeOf(one, resolve)), schemaTree(one, resolve))));
  }
  if (of.type === "array") return schemaTree(of.items, resolve);
  if (of.type !== "object") return of.description ? element("p", {}, prose(of.description)) : element("div");
  const rows = Object.entries(of.properties || {}).map(([name, property]) => {
    const inner = resolve(property);
    const label = [
      element("code", {}, name), " ",
      element("span", { class: "faint mono" }, typeOf(property, resolve)),
      (of.required || []).includes(name) ? element("b", {}, " required") : "",
      inner.description ? element("div", {}, prose(inner.description)) : "",
    ];
    const deep = inner.type === "array" ? resolve(inner.items) : inner;
    if (!deep || deep.type !== "object" || !deep.properties) return element("div", { class: "schema" }, label);
    const open = element("details", { class: "schema" }, element("summary", {}, label));
    open.addEventListener("toggle", () => {
      if (open.open && open.children.length === 1) open.append(schemaTree(deep, resolve));
    });
    return open;
  });
  return element("div", {}, of.description ? element("p", {}, prose(of.description)) : "", rows);
}
