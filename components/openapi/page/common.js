"use strict";
// Everything is made as elements with text: nothing from the document or from a
// response is ever read as HTML.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return made;
}

function remembered(name, otherwise) {
  try { return sessionStorage.getItem("funnelweb:" + name) ?? otherwise; } catch { return otherwise; }
}

function remember(name, value) {
  try { sessionStorage.setItem("funnelweb:" + name, value); } catch { /* a page may be denied storage */ }
}
