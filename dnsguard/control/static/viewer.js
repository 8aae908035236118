// Copyright (c) The dnsguard developers. See LICENSE for details.
// Shows the OpenAPI document, and tries its operations. Everything is put into
// the page as text, never as markup.
"use strict";

const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element[key] = value;
  element.append(...children);
  return element;
};

const pretty = (value) => JSON.stringify(value, null, 2);

const tokenField = document.getElementById("token");

async function send(method, path, operation, fields, body, output) {
  let target = path;
  const query = new URLSearchParams();
  for (const [parameter, input] of fields) {
    if (parameter.in === "path") {
      target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (input.value !== "") {
      query.set(parameter.name, input.value);
    }
  }
  const headers = {};
  if (tokenField.value) headers.Authorization = `Bearer ${tokenField.value}`;
  if (body && body.value.trim()) headers["Content-Type"] = "application/json";
  const text = [...query].length ? `${target}?${query}` : target;
  output.textContent = "…";
  try {
    const began = performance.now();
    const response = await fetch(text, {
      method: method.toUpperCase(),
      headers,
      body: body && body.value.trim() ? body.value : undefined,
      credentials: "omit",
    });
    const answer = await response.text();
    let shown = answer;
    try { shown = pretty(JSON.parse(answer)); } catch (problem) { /* not JSON: as it is */ }
    const took = Math.round(performance.now() - began);
    output.textContent = `${response.status} ${response.statusText}, ${took} ms\n\n${shown}`;
  } catch (problem) {
    output.textContent = String(problem);
  }
}

function form(method, path, operation) {
  const fields = [];
  const box = make("form");
  const table = make("table");
  for (const parameter of operation.parameters || []) {
    const input = make("input", { placeholder: String(parameter.schema.default ?? "") });
    fields.push([parameter, input]);
    const name = parameter.required ? `${parameter.name} (needed)` : parameter.name;
    table.append(make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, input),
      make("td", {}, parameter.schema.description || parameter.schema.type || "")));
  }
  if (fields.length) box.append(table);
  let body = null;
  if (operation.requestBody) {
    body = make("textarea", { spellcheck: false, placeholder: "JSON" });
    box.append(make("p", {}, "Body"), body, make("pre", {},
      pretty(operation.requestBody.content["application/json"].schema)));
  }
  const output = make("pre", { hidden: true });
  box.append(make("button", {}, "Send"), output);
  box.addEventListener("submit", (event) => {
    event.preventDefault();
    output.hidden = false;
    send(method, path, operation, fields, body, output);
  });
  return box;
}

function show(method, path, operation) {
  const summary = make("summary", {}, make("span", { className: "role" }, operation["x-role"]),
    make("span", { className: "method" }, method.toUpperCase()), make("code", {}, path));
  const inner = make("div", {}, make("p", {}, operation.summary));
  if (operation["x-aliases"]) inner.append(make("p", {}, `Also: ${operation["x-aliases"].join(", ")}`));
  if (operation["x-rate-limit-seconds"]) {
    inner.append(make("p", {}, `Once in ${operation["x-rate-limit-seconds"]} s, twice at first.`));
  }
  inner.append(form(method, path, operation));
  const answers = make("table");
  for (const [status, response] of Object.entries(operation.responses)) {
    answers.append(make("tr", {}, make("td", {}, status), make("td", {}, response.description)));
  }
  inner.append(answers);
  const content = operation.responses["200"].content || {};
  for (const [kind, { schema }] of Object.entries(content)) {
    inner.append(make("p", {}, kind), make("pre", {}, pretty(schema)));
  }
  return make("details", {}, summary, inner);
}

async function begin() {
  const main = document.getElementById("main");
  const described = await (await fetch("openapi.json", { credentials: "omit" })).json();
  for (const tag of described.tags) {
    main.append(make("h2", {}, tag.name), make("p", {}, tag.description));
    for (const [path, operations] of Object.entries(described.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        if (operation.tags.includes(tag.name)) main.append(show(method, path, operation));
      }
    }
  }
}

begin();
