// Elements and numbers. Text goes into the page as text only, so a name can't become markup.

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  return fill(element, attributes, children);
}

function draw(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function table(header, rows, numbers = []) {
  const cell = (name, text, column) => make(name, { class: numbers.includes(column) ? "number" : null, scope: name === "th" ? "col" : null }, text);
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": header.filter(Boolean).join(", ") },
    make("table", null,
      make("thead", null, make("tr", null, ...header.map((text, column) => cell("th", text, column)))),
      make("tbody", null, ...rows.map((row) => make("tr", null, ...row.map((text, column) => cell("td", text ?? "", column)))))));
}

function folded(title, content) {
  const details = make("details", null, make("summary", null, title));
  details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(content()); });
  return details;
}

function number(value, metric = "") {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (metric === "mfu") return (100 * value).toFixed(1) + " %";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return value.toExponential(3);
  if (Number.isInteger(value) || size >= 1e4) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(5)));
}

function clock(seconds) {
  return new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ") + " UTC";
}

function remembered(name, fallback) {
  try { return JSON.parse(sessionStorage.getItem("primus-" + name)) ?? fallback; } catch { return fallback; }
}

function remember(name, value) {
  try { sessionStorage.setItem("primus-" + name, JSON.stringify(value)); } catch { /* a browser that keeps nothing */ }
}
