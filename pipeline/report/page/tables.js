"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

/* An element with attributes (or properties by a dot before the name) and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith(".")) element[name.slice(1)] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function fill(select, values) {
  select.replaceChildren(...values.map(([value, text]) => make("option", { value }, text)));
}

const percent = (value) => (value === null || value === undefined ? "n/a" : (100 * value).toFixed(1));

/* Numbers of every class, one column per row of metrics.json. */
function classTable() {
  const entries = data.entries.filter((entry) => entry.name !== "all background");
  const place = (entry) => `${entry.split}, ${entry.protocol}`;
  const titles = {
    iou: "IoU", precision: "precision", recall: "recall", over_activation: "over-activation", coverage: "coverage",
    boundary_iou: "boundary IoU",
  };
  const kinds = Object.keys(titles).filter((kind) => entries.some((entry) => entry.per_class[kind]));
  fill($("class-split"), [...new Set(entries.map(place))].map((name) => [name, name]));
  fill($("class-number"), kinds.map((kind) => [kind, titles[kind]]));
  let sorted = -1;
  let down = false;

  function draw() {
    const shown = entries.filter((entry) => place(entry) === $("class-split").value);
    const columns = shown.map((entry) => entry.per_class[$("class-number").value] || []);
    const names = shown[0].per_class.class;
    const order = names.map((_, index) => index);
    if (sorted >= 0) order.sort((a, b) => (columns[sorted][a] ?? -1) - (columns[sorted][b] ?? -1));
    if (down) order.reverse();
    const heading = shown.map((entry, index) => {
      const button = make("button", { type: "button" }, entry.name);
      button.onclick = () => {
        down = sorted === index && !down;
        sorted = index;
        draw();
      };
      return make("th", {}, button);
    });
    const means = columns.map((values) => {
      const known = values.filter((value) => value !== null);
      return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
    });
    const rows = [["mean", means], ...order.map((index) => [names[index], columns.map((values) => values[index])])];
    $("class-table").replaceChildren(
      make("thead", {}, make("tr", {}, make("th", {}, "class"), ...heading)),
      make("tbody", {}, ...rows.map(([name, values]) => make("tr", {}, make("td", {}, name), ...cells(values)))),
    );
  }

  /* Values with the change since the one before; more is better but for over-activation. */
  function cells(values) {
    const sign = $("class-number").value === "over_activation" ? -1 : 1;
    return values.map((value, index) => {
      const cell = make("td", {}, percent(value));
      const before = values[index - 1];
      if (index && values.length > 1 && typeof value === "number" && typeof before === "number") {
        const change = 100 * (value - before);
        const text = (change >= 0 ? "+" : "−") + Math.abs(change).toFixed(1);
        cell.append(make("small", { class: sign * change >= 0 ? "good" : "bad" }, text));
      }
      return cell;
    });
  }

  $("class-split").onchange = () => {
    sorted = -1;
    down = false;
    draw();
  };
  $("class-number").onchange = draw;
  draw();
}

if ($("class-table")) classTable();
