// The list of a dictionary's latents, sorted or searched by token.

const PAGE = 50;
const SORTS = {
  dense: ["most frequent first", (o) => (i) => -o.firings[i]],
  rare: ["rarest first", (o) => (i) => (o.firings[i] ? o.firings[i] : Infinity)],
  max: ["largest activation first", (o) => (i) => -o.maxima[i]],
  number: ["by number", () => (i) => i],
};

// Score how well each token of the vocabulary matches a query: 1 for an exact match, less for a partial one.
function matchTokens(tokens, query) {
  const unescaped = query.replace(/\\n|↵/g, "\n").replace(/\\t|⇥/g, "\t");
  const strict = /^\s/.test(unescaped); // " the" searches for the token with its space
  const bare = (text) => (strict || !text.trim() ? text : text.trim());
  const wanted = bare(unescaped);
  const lower = wanted.toLowerCase();
  const found = new Map();
  if (!lower) return found;
  tokens.forEach((token, id) => {
    const candidate = bare(token);
    const folded = candidate.toLowerCase();
    if (!folded.includes(lower)) return;
    const how = folded === lower ? 1 : folded.startsWith(lower) ? 0.4 : 0.2;
    found.set(id, candidate.includes(wanted) ? how : 0.9 * how);
  });
  return found;
}

// Find latents whose top examples peak on a matching token (scored by share) or that promote one (scored by rank).
function searchLatents(o, matches) {
  const found = [];
  for (let i = 0; i < o.firings.length; i++) {
    let score = 0;
    for (const [token, share] of o.peaks[i]) score += ((matches.get(token) || 0) * share) / 100;
    if (o.promoted) o.promoted[i].forEach((token, rank) => (score += (0.4 * (matches.get(token) || 0)) / (rank + 1)));
    if (score > 0) found.push([i, score]);
  }
  return found.sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([i]) => i);
}

async function showList(main, { dictionary, options }) {
  const [o, { tokens }] = await Promise.all([overview(dictionary), text()]);
  const query = options.search || "";
  const matches = matchTokens(tokens, query);
  const alive = o.firings.filter((n) => n > 0).length;
  let order;
  if (query) order = searchLatents(o, matches);
  else {
    const key = (SORTS[options.sort] || SORTS.dense)[1](o);
    order = o.firings.map((_, i) => i).sort((a, b) => key(a) - key(b) || a - b);
  }
  if (options.sort && query) {
    const key = SORTS[options.sort]?.[1](o);
    if (key) order.sort((a, b) => key(a) - key(b) || a - b);
  }
  const heading = query
    ? make("h2", {}, `${count(order.length)} ${order.length === 1 ? "latent" : "latents"} for `, chip(query))
    : make("h2", {}, `${count(dictionary.n_latents)} latents`);
  const facts = make(
    "p",
    { class: "facts" },
    make("b", {}, dictionary.hook),
    ` · ${dictionary.settings} · L0 ${number(dictionary.l0)} · FVU ${number(dictionary.fvu)} · ` +
      `${count(alive)} of ${count(dictionary.n_latents)} fire on ${count(o.rows)} held-out tokens`,
  );
  const sort = make("select", { id: "sort" });
  if (query) sort.append(make("option", { value: "", selected: !options.sort }, "best match first"));
  for (const [value, [label]] of Object.entries(SORTS)) {
    sort.append(make("option", { value, selected: value === (options.sort || (query ? "" : "dense")) }, label));
  }
  sort.addEventListener("change", () => location.replace(address(dictionary, null, { ...options, sort: sort.value })));
  const body = make("tbody");
  const more = make("button", { type: "button", class: "more" }, "Show more");
  let shown = 0;
  const grow = (upTo) => {
    for (const latent of order.slice(shown, upTo)) body.append(row(dictionary, o, tokens, matches, latent, options));
    shown = Math.min(upTo, order.length);
    more.hidden = shown >= order.length;
    more.textContent = `Show ${count(Math.min(PAGE, order.length - shown))} more of ${count(order.length - shown)}`;
  };
  more.addEventListener("click", () => grow(shown + PAGE));
  grow(PAGE);
  const columns = ["Latent", "Fires on", "Largest", "Its top examples peak on", ...(o.promoted ? ["Promotes"] : [])];
  main.replaceChildren(
    make("div", { class: "bar" }, make("div", {}, heading, facts), make("label", { class: "choice" }, "Order ", sort)),
    order.length
      ? make(
          "table",
          { class: "list" },
          make("thead", {}, make("tr", {}, columns.map((name) => make("th", { scope: "col" }, name)))),
          body,
        )
      : make("p", { class: "note" }, "No latent peaks on or promotes a token with this text. " +
          "Tokens are pieces of words: try fewer letters; \\n finds line ends."),
    more,
    make("p", { class: "hint" }, "Press ", make("kbd", {}, "/"), " to search, ", make("kbd", {}, "←"), " and ",
      make("kbd", {}, "→"), " to step through latents."),
  );
  announce(query ? `${order.length} latents found` : `${dictionary.n_latents} latents`);
}

function row(dictionary, o, tokens, matches, latent, options) {
  const found = (token) => (matches.get(token) > 0 ? "found" : "");
  const rate = o.firings[latent] / o.rows;
  const peaks = o.peaks[latent].map(([token, share]) =>
    chip(tokens[token], { class: found(token), title: `${share} % of the top examples` }),
  );
  // show a promoted token that matches the search, whatever its rank
  const promoted = (o.promoted ? o.promoted[latent] : []).filter((token, i) => i < 5 || found(token));
  const cells = [
    make("td", { class: "name" }, make("a", { href: address(dictionary, latent, options) }, `#${latent}`)),
    make("td", { class: "rate" }, rate ? make("span", { class: "meter", style: `--share: ${meter(rate)}` }, percent(rate)) : "never"),
    make("td", { class: "max" }, rate ? exact(o.maxima[latent]) : "–"),
    make("td", { class: "chips" }, peaks.length ? peaks : "–"),
  ];
  if (o.promoted) cells.push(make("td", { class: "chips promoted" }, promoted.map((token) => chip(tokens[token], { class: found(token) }))));
  return make("tr", {}, cells);
}

// Map a rate to a logarithmic scale, from one in 100,000 to always.
function meter(rate) {
  return Math.max(0.02, Math.min(1, 1 + Math.log10(rate) / 5)).toFixed(3);
}
