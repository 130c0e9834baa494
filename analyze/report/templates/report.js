"use strict";
// Each panel's data lies in the script element beside its plot. A plot is drawn when it first comes near the screen.

const TOUCH = !matchMedia("(hover: hover)").matches;
const NARROW = matchMedia("(max-width: 40rem)").matches;
const SMALL_HEIGHT = 150; // pixels: small plots on a narrow screen
const PRINT_WIDTH = 330; // pixels: two panels on a printed page

const trees = new Map();
const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  },
  { rootMargin: "600px" },
);

function draw(panel) {
  near.unobserve(panel);
  if (panel.classList.contains("tree")) {
    if (!trees.has(panel)) trees.set(panel, new Tree(panel));
  } else if (!panel.classList.contains("js-plotly-plot")) {
    const { data, layout } = JSON.parse(panel.nextElementSibling.textContent);
    if (NARROW && panel.closest(".small")) layout.height = SMALL_HEIGHT;
    if (TOUCH) layout.dragmode = false; // a finger that crosses a plot scrolls the page
    Plotly.newPlot(panel, data, layout, {
      responsive: true,
      displayModeBar: TOUCH ? false : "hover",
      displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  }
}

function shownPanels() {
  return document.querySelectorAll("figure:not([hidden]) :is(div.plot, div.tree)");
}

function choose(select) {
  for (const option of select.options) {
    const figure = document.getElementById(option.value);
    figure.hidden = option.value !== select.value;
  }
}

function toggle(button) {
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  for (const plot of button.closest("figure").querySelectorAll("div.plot")) {
    draw(plot);
    const panel = JSON.parse(plot.nextElementSibling.textContent);
    const name = button.dataset.series;
    const traces = panel.data.flatMap((trace, index) => (unescaped(trace.name) === name ? [index] : []));
    if (traces.length) Plotly.restyle(plot, { visible: shown }, traces);
  }
}

function unescaped(html) {
  return new DOMParser().parseFromString(html || "", "text/html").documentElement.textContent;
}

function resizeAll(width) {
  for (const plot of document.querySelectorAll("figure:not([hidden]) .js-plotly-plot")) {
    Plotly.relayout(plot, { width, autosize: width === null });
  }
}

for (const select of document.querySelectorAll(".choice select")) {
  select.addEventListener("change", () => choose(select));
  choose(select); // a browser that comes back to the page restores what was chosen
}
for (const panel of document.querySelectorAll("div.plot, div.tree")) near.observe(panel);
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => toggle(button));
}
window.addEventListener("beforeprint", () => {
  for (const panel of shownPanels()) draw(panel);
  resizeAll(PRINT_WIDTH);
});
window.addEventListener("afterprint", () => resizeAll(null));
function openAddress() {
  if (location.hash.startsWith("#feature=")) {
    for (const tree of document.querySelectorAll("div.tree")) draw(tree);
    followAddress(trees);
  }
}
window.addEventListener("hashchange", openAddress);
openAddress();
