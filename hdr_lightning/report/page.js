"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const address = (path) => (path ? "data:image/webp;base64," + data.pictures[path] : null);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

/* Pictures are decoded when they come near the screen. */
const near = (elements, show) => {
  const observer = new IntersectionObserver((seen) => {
    for (const each of seen) {
      if (each.isIntersecting) {
        observer.unobserve(each.target);
        show(each.target);
      }
    }
  }, { rootMargin: "800px" });
  elements.forEach((element) => observer.observe(element));
};
const fill = (image, path) => {
  const uri = address(path);
  image.hidden = !uri;
  if (uri && image.src !== uri) image.src = uri;
};

/* Before and after. */
const selects = { left: document.getElementById("left"), right: document.getElementById("right") };
const opened = new Set();
const own = (values, name) => (Object.hasOwn(values, name) ? values[name] : null);  // contenders are called anything
const pictureOf = (shot, role) => (role.kind === "output" ? own(shot.outputs, role.name) : shot[role.kind]);
const points = (bins, peak) => bins.map((share, place) => `${place},${(100 - 100 * Math.min(1, share / peak)).toFixed(1)}`).join(" ");

const drawHistogram = (svg, shot, sides) => {
  const drawn = { left: sides.left.name, right: sides.right.name, goal: "" };
  const known = Object.values(drawn).map((name) => own(shot.histograms, name)).filter(Boolean);
  const peak = Math.max(...known.map((bins) => [...bins].sort((a, b) => b - a)[2])) || 1;  // a clipped border is no peak
  for (const [side, name] of Object.entries(drawn)) {
    const bins = own(shot.histograms, name);
    svg.querySelector(`.${side}`).setAttribute("points", bins ? points(bins, peak) : "");
  }
};

const show = (figure) => {
  opened.add(figure);
  const shot = data.shots[figure.dataset.index];
  const sides = { left: data.roles[selects.left.value], right: data.roles[selects.right.value] };
  for (const side of ["left", "right"]) {
    fill(figure.querySelector(`img.${side}`), pictureOf(shot, sides[side]));
    figure.querySelector(`.label.${side}`).textContent = sides[side].label;
  }
  const overlay = figure.querySelector("img.over");
  const pressed = figure.querySelector("button[aria-pressed=true]");
  const what = pressed ? pressed.dataset.over : "";
  fill(overlay, what === "target" ? shot.target : what === "difference" ? own(shot.differences, sides.right.name) : "");
  figure.classList.toggle("covered", !overlay.hidden);
  const values = [sides.left, sides.right].map((role) => own(shot.values, role.name) || "");
  figure.querySelector(".values").textContent = values.filter(Boolean).join(" → ");
  drawHistogram(figure.querySelector(".histogram"), shot, sides);
};

for (const figure of all(".shot")) {
  const box = figure.querySelector(".compare"), slider = box.querySelector("input");
  slider.addEventListener("input", () => box.style.setProperty("--cut", slider.value + "%"));
  const buttons = all("button[data-over]", figure);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const pressed = button.getAttribute("aria-pressed") !== "true";
      buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === button && pressed)));
      show(figure);
    });
  }
  figure.querySelector(".whole").addEventListener("click", () => box.requestFullscreen());
}
if (selects.left) {
  for (const select of Object.values(selects)) select.addEventListener("change", () => opened.forEach(show));
  near(all(".shot"), show);
}

/* Worst windows. */
const ofContender = document.getElementById("crops-of");
const filterCrops = () => {
  for (const row of all(".crop")) row.hidden = Boolean(ofContender.value) && row.dataset.contender !== ofContender.value;
};
if (ofContender) ofContender.addEventListener("change", filterCrops);
near(all(".crop"), (row) => all("img", row).forEach((image) => fill(image, image.dataset.path)));

/* Tables: numbers as numbers, what is missing last, in both directions. */
const valueOf = (row, column) => {
  const cell = row.cells[column];
  if (!("number" in cell.dataset)) return cell.textContent.trim();
  return cell.dataset.number === "" ? null : Number(cell.dataset.number);
};
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
for (const table of all("table.sortable")) {
  const heads = all("th", table);
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
    const missing = ([value]) => value === null || value === "";
    rows.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : sign * compare(a[0], b[0])));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }));
}

const search = document.getElementById("search"), only = document.getElementById("only");
const filterRows = () => {
  const words = search.value.toLowerCase();
  for (const row of document.getElementById("photos").tBodies[0].rows) {
    const fits = row.cells[0].textContent.toLowerCase().includes(words);
    row.hidden = !fits || (only.value !== "" && row.cells[1].textContent !== only.value);
  }
};
search.addEventListener("input", filterRows);
only.addEventListener("change", filterRows);
