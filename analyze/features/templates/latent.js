// The page of one latent.

const SHORT = [12, 8]; // tokens before and after, unless the reader wants longer context
let wide = false;

async function showLatent(main, { dictionary, latent, options }) {
  const o = await overview(dictionary);
  if (latent >= o.firings.length) {
    main.replaceChildren(make("p", { class: "note" }, `There is no latent ${latent}: this dictionary has ${count(o.firings.length)}.`));
    return;
  }
  const [found, source] = await Promise.all([record(dictionary, latent), text()]);
  const rate = o.firings[latent] / o.rows;
  const step = (by) => (latent + by + o.firings.length) % o.firings.length;
  const link = (target, label, name) => make("a", { href: address(dictionary, target, options), class: "button", "aria-label": name, rel: name === "Previous latent" ? "prev" : name === "Next latent" ? "next" : null }, label);
  const random = make("button", { type: "button", class: "button", onclick: () => {
    const living = o.firings.flatMap((n, i) => (n > 0 && i !== latent ? [i] : []));
    if (living.length) location.hash = address(dictionary, living[Math.floor(Math.random() * living.length)], options);
  } }, "Random");
  const facts = rate
    ? [["Fires on", `${percent(rate)} of tokens`, `${count(o.firings[latent])} of ${count(o.rows)}`],
       ["Largest", exact(o.maxima[latent]), null],
       ["Mean where it fires", exact(o.means[latent]), null]]
    : [["Fires on", "no token", `of ${count(o.rows)} held-out ones`]];
  main.replaceChildren(
    make("nav", { class: "bar", "aria-label": "Latents" },
      make("a", { href: address(dictionary, null, options) }, options.search ? "← Results" : "← All latents"),
      make("span", { class: "steps" }, link(step(-1), "‹ Previous", "Previous latent"), random, link(step(1), "Next ›", "Next latent"))),
    make("div", { class: "title" },
      make("h2", {}, `Latent ${latent}`),
      make("p", { class: "facts" }, make("b", {}, dictionary.hook), ` · ${dictionary.settings} · ${count(dictionary.n_latents)} latents`)),
    make("dl", { class: "numbers" }, facts.map(([name, value, more]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value, more && make("small", {}, more))))),
    make("div", { class: "columns" },
      make("div", { class: "side" }, logits(o, found, source.tokens), histogram(found, o, latent), sizes(dictionary, o, found)),
      make("div", { class: "examples" }, examples(o, found, source, latent))),
  );
  announce(`Latent ${latent} of ${dictionary.id}`);
}

function card(title, how, ...content) {
  return make("section", { class: "card" }, make("h3", {}, title), how && make("p", { class: "how" }, how), ...content);
}

// ---- examples

function examples(o, found, source, latent) {
  if (!found.top.length) return card("Examples", "It fires on none of the held-out tokens: it is dead or very rare.");
  const maximum = o.maxima[latent];
  const more = make("button", { type: "button", class: "button", "aria-pressed": String(wide), onclick: () => {
    wide = !wide;
    more.setAttribute("aria-pressed", String(wide));
    for (const list of document.querySelectorAll(".examples ol")) list.replaceChildren(...list.rows());
  } }, "Longer context");
  const measured = o.rows / source.sequences.length;
  const partly = measured < 0.9 ? ` Only ${percent(measured)} of the positions have activations, since the harvest drops the others.` : "";
  const list = (events, label) => {
    const node = make("ol");
    node.rows = () => events.map((event) => example(o, source, maximum, event, label(event)));
    node.append(...node.rows());
    return node;
  };
  return [
    make("section", { class: "card" },
      make("div", { class: "bar" }, make("h3", {}, "Top activations"), more),
      make("p", { class: "how" }, "The strongest firings, at most one per sequence. Shading shows the latent's activation on each token, relative to its largest; a frame marks the peak token." + partly),
      list(found.top, () => null)),
    card("From strong to weak", "A random sample of its firings at evenly spaced ranks. Below each value: the share of its firings that are no stronger.",
      list(found.spread, ([, , rank]) => percent(rank))),
  ];
}

function example(o, source, maximum, [token, pairs], note) {
  const { context, sequences, tokens } = source;
  const start = token - (token % context);
  const [before, after] = wide ? o.window : SHORT;
  const first = Math.max(start, token - before);
  const end = Math.min(start + context, token + after + 1);
  const values = new Map();
  for (let i = 0; i < pairs.length; i += 2) values.set(token + pairs[i], pairs[i + 1]);
  const line = make("span", { class: "text" });
  if (first > start) line.append(make("i", { class: "unseen" }, "… "));
  for (let place = first; place < end; place++) {
    const value = values.get(place) || 0;
    const words = tokens[sequences[place]];
    line.append(paint(make("span", {
      class: place === token ? "peak" : value ? "lit" : null,
      style: value ? `--heat: ${Math.min(1, value / maximum).toFixed(3)}` : null,
      title: `${named(words)}  ${value ? number(value) : "0"}`,
    }), words, true));
  }
  if (end < start + context) line.append(make("i", { class: "unseen" }, " …"));
  return make("li", {}, make("span", { class: "value" }, exact(values.get(token) || 0), note && make("small", {}, note)), line);
}

// ---- tokens promoted and suppressed

function logits(o, found, tokens) {
  if (!found.promoted) return card("Tokens it promotes", `None: ${o.readout}.`);
  const largest = Math.max(...[...found.promoted, ...found.suppressed].map(([, effect]) => Math.abs(effect)), 1e-30);
  const side = (title, pairs, kind) => make("div", {}, make("h4", {}, title), make("ol", { class: `effects ${kind}` },
    pairs.map(([token, effect]) => make("li", { style: `--share: ${(Math.abs(effect) / largest).toFixed(3)}` },
      chip(tokens[token]), make("span", {}, exact(effect, 2))))));
  return card("Tokens it promotes and suppresses", null,
    make("div", { class: "ends" }, side("Promotes", found.promoted, "up"), side("Suppresses", found.suppressed, "down")),
    make("p", { class: "how" }, `Logits per unit of activation, minus their mean: ${o.readout}. Later layers that read the direction are left out.`));
}

// ---- histogram

const SVG = "http://www.w3.org/2000/svg";

function histogram(found, o, latent) {
  if (!found.counts.length) return null;
  const [width, height] = [320, 96];
  const most = Math.max(...found.counts);
  const bin = width / found.counts.length;
  const draw = (tag, attributes, content = "") => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(content);
    return node;
  };
  const end = found.width * found.counts.length;
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height + 18}`, role: "img",
    "aria-label": `Histogram of ${count(o.firings[latent])} activations from 0 to ${number(end)}; the fullest bin holds ${count(most)}` });
  found.counts.forEach((n, i) => {
    if (!n) return;
    const tall = Math.max(1, (n / most) * height);
    const bar = draw("rect", { x: (i * bin).toFixed(2), y: (height - tall).toFixed(2), width: Math.max(bin - 0.6, 0.8).toFixed(2), height: tall.toFixed(2) });
    bar.append(draw("title", {}, `${number(i * found.width)} to ${number((i + 1) * found.width)}: ${count(n)}`));
    picture.append(bar);
  });
  picture.append(draw("line", { x1: 0, x2: width, y1: height, y2: height }));
  picture.append(draw("text", { x: 0, y: height + 14 }, "0"));
  picture.append(draw("text", { x: width / 2, y: height + 14, "text-anchor": "middle" }, number(end / 2)));
  picture.append(draw("text", { x: width, y: height + 14, "text-anchor": "end" }, number(end)));
  return card("Activations", `How strongly it fires, over the tokens on which it fires; the fullest bin holds ${count(most)} tokens.`, picture);
}

// ---- the same feature in other sizes

function sizes(dictionary, o, found) {
  if (!o.others.length) return card("In other sizes", "No dictionary of another size was trained with these settings.");
  const others = o.others.map((other) => ({ ...other, page: CATALOGUE.dictionaries.find((d) => d.path === other.path) }));
  const size = (other) => (other.page ? `${count(other.page.n_latents)} latents` : other.path.split("/").pop());
  const link = (other, latent) =>
    other.page ? make("a", { href: address(other.page, latent) }, `#${latent}`) : make("span", {}, `#${latent}`);
  const nearest = make("table", { class: "near" },
    make("thead", {}, make("tr", {}, ["Dictionary", "Nearest, with cosine", "Chance"].map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, others.map((other, i) => make("tr", {},
      make("td", {}, size(other)),
      make("td", {}, found.nearest[i].length
        ? found.nearest[i].map(([latent, cosine]) => make("span", { class: cosine > other.chance ? "pair" : "pair faint" }, link(other, latent), ` ${cosine === null ? "–" : cosine.toFixed(2)}`))
        : "no alive latents"),
      make("td", {}, other.chance === null ? "–" : other.chance.toFixed(2))))));
  const family = (title, relatives) => make("div", {}, make("h4", {}, title), relatives.length
    ? make("ul", { class: "family" }, relatives.map(([i, latent, cosine, masked]) => make("li", {}, link(others[i], latent),
        make("small", {}, ` of ${size(others[i])}: cosine ${cosine === null ? "–" : cosine.toFixed(2)}, masked ${masked === null ? "–" : masked.toFixed(2)}`))))
    : make("p", { class: "how" }, "none"));
  return [
    card("Nearest in other sizes", "By the cosine of decoder directions, among latents that fire. A cosine near chance (the mean for random vectors that spread over the dimensions as these latents do) is no match.", nearest),
    card("Family", `Parents are latents of the next smaller size, children of the next larger: related by a cosine of ${o.related[0]}, ` +
      `or by one of ${o.related[1]} between their activations on the tokens on which the larger size's latent fires (masked).`,
      family("Parents", found.parents), family("Children", found.children)),
  ];
}
