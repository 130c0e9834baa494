"use strict";
// Each panel's data lies in the script element beside its plot. A plot is drawn when its figure is first shown.

const TOUCH = !matchMedia("(hover: hover)").matches;
const PRINT_WIDTH = 330; // pixels: two panels on a printed page

function draw(figure) {
  for (const plot of figure.querySelectorAll("div.plot:not(.js-plotly-plot)")) {
    const { data, layout } = JSON.parse(plot.nextElementSibling.textContent);
    if (TOUCH) layout.dragmode = false; // a finger that crosses a plot scrolls the page
    Plotly.newPlot(plot, data, layout, {
      responsive: true,
      displayModeBar: TOUCH ? false : "hover",
      displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  }
}

function choose(select) {
  for (const option of select.options) {
    const figure = document.getElementById(option.value);
    figure.hidden = option.value !== select.value;
    if (!figure.hidden) draw(figure);
  }
}

function toggle(button) {
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  for (const plot of button.closest("figure").querySelectorAll("div.plot")) {
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
for (const figure of document.querySelectorAll("figure.chart:not([hidden])")) draw(figure);
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => toggle(button));
}
window.addEventListener("beforeprint", () => resizeAll(PRINT_WIDTH));
window.addEventListener("afterprint", () => resizeAll(null));
