"use strict";
// A family tree to walk along: one feature at a time, with everything that it descends from and that descends from it.
// Its data: sizes, paths, and between each size and the next a flat list [parent, child, cosine, masked cosine, …],
// cosines in hundredths. A feature is written "size:number", size counting from 0.

const ROW = 26; // pixels between two features of one size
const AT_MOST = 24; // relatives of one size that are shown; the nearest ones
const RELATED = 70; // hundredths: a cosine below it joins features that are related by when they fire

class Tree {
  constructor(element) {
    this.element = element;
    this.data = JSON.parse(element.nextElementSibling.textContent);
    this.readKinships();
    this.starts = this.makeStarts();
    this.build();
    this.focus(this.order("families")[0]);
  }

  readKinships() {
    this.parents = new Map();
    this.children = new Map();
    const add = (map, feature, kinship) => (map.get(feature) ?? map.set(feature, []).get(feature)).push(kinship);
    this.data.kinships.forEach((flat, size) => {
      for (let i = 0; i < flat.length; i += 4) {
        const [parent, child] = [`${size}:${flat[i]}`, `${size + 1}:${flat[i + 1]}`];
        const kinship = { parent, child, cosine: flat[i + 2], masked: flat[i + 3] };
        add(this.children, parent, kinship);
        add(this.parents, child, kinship);
      }
    });
    for (const map of [this.parents, this.children]) {
      for (const kinships of map.values()) kinships.sort((a, b) => b.cosine - a.cosine);
    }
  }

  // What a reader may start from: features in the order of what each choice names, the first of all sizes first.
  makeStarts() {
    const features = [...new Set([...this.children.keys(), ...this.parents.keys()])];
    const degree = (map, feature) => map.get(feature)?.length ?? 0;
    const by = (score, kept = () => true) =>
      features
        .filter(kept)
        .map((feature) => [score(feature), feature])
        .sort((a, b) => b[0] - a[0] || a[1].localeCompare(b[1], "en", { numeric: true }))
        .map(([, feature]) => feature);
    const descendants = new Map();
    const count = (feature) => {
      if (!descendants.has(feature)) descendants.set(feature, this.reach(feature, this.children, "child").size);
      return descendants.get(feature);
    };
    const first = (feature) => !this.parents.has(feature);
    const lasting = (feature) => this.chain(feature).every((kinship) => kinship.cosine >= 90);
    return {
      families: () => by(count, first),
      splits: () => by((f) => degree(this.children, f), (f) => degree(this.children, f) > 1),
      merges: () => by((f) => degree(this.parents, f), (f) => degree(this.parents, f) > 1),
      unchanged: () => by((f) => this.chain(f).length, (f) => first(f) && this.chain(f).length > 0 && lasting(f)),
    };
  }

  order(name) {
    this.ordered ??= {};
    return (this.ordered[name] ??= this.starts[name]());
  }

  // The nearest child of the nearest child, and so on.
  chain(feature) {
    const found = [];
    for (let next = this.children.get(feature)?.[0]; next; next = this.children.get(next.child)?.[0]) found.push(next);
    return found;
  }

  reach(feature, map, end) {
    const found = new Set();
    const frontier = [feature];
    while (frontier.length) {
      for (const kinship of map.get(frontier.pop()) ?? []) {
        if (!found.has(kinship[end])) {
          found.add(kinship[end]);
          frontier.push(kinship[end]);
        }
      }
    }
    return found;
  }

  build() {
    const names = {
      families: "with most descendants",
      splits: "that split into most",
      merges: "that merge most",
      unchanged: "that stay as they are",
    };
    this.kind = make("select", { "aria-label": "Features to walk through" });
    for (const [value, text] of Object.entries(names)) {
      const n = this.order(value).length;
      this.kind.append(make("option", { value, disabled: n ? null : "" }, `${text} (${n.toLocaleString("en")})`));
    }
    this.previous = make("button", { type: "button", "aria-label": "Previous feature" }, "‹");
    this.next = make("button", { type: "button", "aria-label": "Next feature" }, "›");
    this.size = make("select", { "aria-label": "Size" });
    this.data.sizes.forEach((name, i) => this.size.append(make("option", { value: i }, `of ${name}`)));
    this.number = make("input", { type: "number", min: 0, step: 1, "aria-label": "Number of the feature" });
    const walk = make("span", {}, "Features ", this.kind, this.previous, this.next);
    const search = make("form", {}, "Feature ", this.number, " ", this.size, " ", make("button", {}, "Show"));
    this.graph = make("div", { class: "kin" });
    this.about = make("div", { class: "about", "aria-live": "polite" });
    this.element.replaceChildren(make("div", { class: "walk" }, walk, search), this.graph, this.about);
    this.kind.addEventListener("change", () => this.focus(this.order(this.kind.value)[0]));
    this.previous.addEventListener("click", () => this.step(-1));
    this.next.addEventListener("click", () => this.step(1));
    search.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.number.value !== "") this.focus(`${this.size.value}:${Number(this.number.value)}`);
    });
    this.element.addEventListener("click", (event) => {
      const feature = event.target.closest("[data-feature]")?.dataset.feature;
      if (feature) this.focus(feature, true);
    });
  }

  step(by) {
    const list = this.order(this.kind.value);
    const place = list.indexOf(this.walked ?? this.shown);
    this.focus(list[(place + by + list.length) % list.length]);
  }

  // `aside`: reached by walking along the tree, so that "next" goes on from where the walk left the list.
  focus(feature, aside = false) {
    if (!feature) return;
    if (!aside) this.walked = feature;
    this.shown = feature;
    this.element.dataset.shown = feature;
    const [size, number] = feature.split(":");
    this.size.value = size;
    this.number.value = number;
    this.draw();
    this.describe();
  }

  // The focus, its ancestors to the left and its descendants to the right: by size, the nearest relatives first.
  relatives() {
    const columns = this.data.sizes.map(() => []);
    const own = Number(this.shown.split(":")[0]);
    columns[own] = [this.shown];
    const left = new Array(columns.length).fill(0);
    const spread = (map, end, step) => {
      for (let size = own; columns[size + step] && columns[size].length; size += step) {
        const found = new Set(columns[size].flatMap((f) => (map.get(f) ?? []).map((kinship) => kinship[end])));
        columns[size + step] = [...found].slice(0, AT_MOST);
        left[size + step] = found.size - columns[size + step].length;
      }
    };
    spread(this.children, "child", 1);
    spread(this.parents, "parent", -1);
    return { columns, left };
  }

  draw() {
    const { columns, left } = this.relatives();
    const tall = ROW * (1 + Math.max(...columns.map((column, i) => column.length + (left[i] ? 1 : 0))));
    const places = new Map();
    const parts = [];
    columns.forEach((column, size) => {
      const x = (100 * (size + 0.5)) / columns.length;
      const top = ROW + (tall - ROW * (column.length + 1)) / 2;
      parts.push(make("span", { class: "size", style: `left:${x}%` }, this.data.sizes[size]));
      column.forEach((feature, row) => {
        const y = top + ROW * (row + 0.5);
        places.set(feature, { x, y });
        parts.push(this.button(feature, `left:${x}%;top:${y}px`));
      });
      if (left[size]) {
        const y = top + ROW * (column.length + 0.5);
        parts.push(make("span", { class: "left", style: `left:${x}%;top:${y}px` }, `and ${left[size]} more`));
      }
    });
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 100 ${tall + ROW}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.style.height = `${tall + ROW}px`;
    for (const [feature, from] of places) {
      for (const kinship of this.children.get(feature) ?? []) {
        const to = places.get(kinship.child);
        if (to) svg.append(this.line(from, to, kinship));
      }
    }
    this.graph.style.height = `${tall + ROW}px`;
    this.graph.style.minWidth = `${4.6 * columns.length}rem`;
    this.graph.replaceChildren(svg, ...parts);
  }

  line(from, to, kinship) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const middle = (from.x + to.x) / 2;
    path.setAttribute("d", `M${from.x} ${from.y} C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`);
    path.setAttribute("stroke-width", Math.max(1, 5 * (kinship.cosine / 100) ** 2));
    if (kinship.cosine < RELATED) path.setAttribute("stroke-dasharray", "4 3");
    return path;
  }

  button(feature, style) {
    const shown = feature === this.shown ? "true" : null;
    const number = feature.split(":")[1];
    return make("button", { type: "button", style, "data-feature": feature, "aria-current": shown }, number);
  }

  describe() {
    const [size, number] = this.shown.split(":").map(Number);
    const { parents, children } = this;
    const title = make("h5", {}, `Feature ${number} of ${this.data.sizes[size]}`);
    if (document.body.dataset.features) {
      const address = `${this.data.paths[size].replace(/^dictionaries\//, "")}/${number}`;
      title.append(" ", make("a", { href: `${document.body.dataset.features}#${encodeURI(address)}` }, "what it fires on"));
    }
    const lists = [
      this.list("Parents", parents.get(this.shown) ?? [], "parent", size > 0 && "none: it is new at this size, or never fires"),
      this.list("Children", children.get(this.shown) ?? [], "child", size < this.data.sizes.length - 1 && "none: it vanishes, or never fires"),
    ];
    this.about.replaceChildren(title, ...lists.filter(Boolean));
  }

  list(name, kinships, end, none) {
    if (!kinships.length) return none ? make("p", {}, `${name}: ${none}.`) : null;
    const items = kinships.slice(0, AT_MOST).map((kinship) =>
      make(
        "li",
        {},
        this.button(kinship[end], ""),
        ` of ${this.data.sizes[Number(kinship[end].split(":")[0])]}: cosine ${written(kinship.cosine)}, where the child fires ${written(kinship.masked)}`,
      ),
    );
    const more = kinships.length - items.length;
    return make("div", {}, make("p", {}, `${name}${more ? ` (the nearest ${AT_MOST} of ${kinships.length})` : ""}:`), make("ul", {}, ...items));
  }
}

function written(hundredths) {
  return hundredths === null ? "–" : (hundredths / 100).toFixed(2);
}

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// index.html#feature=PATH:NUMBER opens the page at this feature of the tree that has this dictionary.
function followAddress(trees) {
  const asked = decodeURI(location.hash).match(/^#feature=(.*):(\d+)$/);
  if (!asked) return;
  for (const element of document.querySelectorAll("div.tree")) {
    const size = JSON.parse(element.nextElementSibling.textContent).paths.indexOf(asked[1]);
    if (size < 0) continue;
    const figure = element.closest("figure");
    const select = figure.closest("section").querySelector(".choice select");
    if (select) {
      select.value = figure.id;
      select.dispatchEvent(new Event("change"));
    }
    trees.get(element)?.focus(`${size}:${asked[2]}`);
    element.scrollIntoView({ block: "center" });
    return;
  }
}
