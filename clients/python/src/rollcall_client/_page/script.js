// Draws attention by layer and head from the page's own JSON. All text goes through textContent, never through HTML.
"use strict";

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const draw = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

const percent = (share) => `${(100 * share).toFixed(1)} %`;

const strip = (weights) => {
  const canvas = make("canvas", "strip");
  canvas.width = weights.length;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const top = Math.max(...weights, 1e-9);
  weights.forEach((weight, position) => {
    context.fillStyle = `rgb(100 110 125 / ${weight / top})`;
    context.fillRect(position, 0, 1, 1);
  });
  return canvas;
};

const show = (panel, title, words, weights) => {
  const top = Math.max(...weights, 1e-9);
  const table = make("table", "twins");
  const body = table.appendChild(make("tbody", ""));
  words.forEach((word, position) => {
    const row = body.appendChild(make("tr", ""));
    const name = row.appendChild(make("th", ""));
    name.scope = "row";
    name.appendChild(make("bdi", "", word));
    const cell = row.appendChild(make("td", ""));
    const track = cell.appendChild(draw("svg", { class: "weight", "aria-hidden": "true" }));
    track.appendChild(draw("rect", { width: percent(weights[position] / top).replace(" ", "") }));
    cell.appendChild(make("span", "", percent(weights[position])));
  });
  panel.replaceChildren(make("h5", "", title), table);
};

for (const view of document.querySelectorAll(".attention")) {
  const { words, layers, heads, weights } = JSON.parse(view.querySelector("script").textContent);
  const grid = view.querySelector(".heads");
  const panel = view.querySelector(".head");
  layers.forEach((layer, row) => {
    const line = grid.appendChild(make("div", "layer"));
    line.appendChild(make("span", "name", `layer ${layer}`));
    heads.forEach((head, column) => {
      const button = line.appendChild(make("button", ""));
      const title = `Layer ${layer}, ${head}`;
      button.type = "button";
      button.title = title;
      button.setAttribute("aria-label", title);
      button.setAttribute("aria-pressed", "false");
      button.appendChild(strip(weights[row][column]));
      button.addEventListener("click", () => {
        grid.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        show(panel, title, words, weights[row][column]);
      });
    });
  });
  grid.querySelector("button").click();
}
