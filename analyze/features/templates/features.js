// The frame: show what the address names; keys and the search box change the address.

const main = document.getElementById("main");
const chooser = document.getElementById("dictionary");
const query = document.getElementById("query");
let drawing = 0;

function announce(words) {
  document.getElementById("status").textContent = words;
}

function fillChooser() {
  const groups = new Map();
  for (const dictionary of CATALOGUE.dictionaries) {
    if (!groups.has(dictionary.hook)) groups.set(dictionary.hook, make("optgroup", { label: dictionary.hook }));
    groups.get(dictionary.hook).append(make("option", { value: dictionary.id }, `${count(dictionary.n_latents)} · ${dictionary.settings}`));
  }
  chooser.append(...groups.values());
}

async function show(moved) {
  const turn = ++drawing;
  const asked = parseAddress();
  const { dictionary, latent, options } = asked;
  chooser.value = dictionary.id;
  if (document.activeElement !== query) query.value = options.search || "";
  document.title = `${latent === null ? "" : `${latent} · `}${dictionary.id} · winnow features`;
  const stage = make("div"); // drawn off the page, so that a slow drawing never replaces a later one
  try {
    if (!asked.known) stage.append(make("p", { class: "note" }, `No pages were made for ${location.hash.slice(1)}.`));
    else if (latent === null) await showList(stage, asked);
    else await showLatent(stage, asked);
  } catch (error) {
    stage.replaceChildren(make("p", { class: "note" }, error.message));
    console.error(error);
  }
  if (turn !== drawing) return;
  main.replaceChildren(...stage.childNodes);
  main.dataset.shown = location.hash || "#";
  if (moved) scrollTo(0, 0);
}

function search() {
  const { dictionary } = parseAddress();
  const jump = query.value.match(/^#(\d+)$/);
  return jump ? address(dictionary, Number(jump[1])) : address(dictionary, null, { search: query.value });
}

fillChooser();
chooser.addEventListener("change", () => {
  const chosen = CATALOGUE.dictionaries.find((d) => d.id === chooser.value);
  const { latent, options } = parseAddress();
  location.hash = address(chosen, null, latent === null ? options : {});
});
document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = search();
});
let typing;
query.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    if (/^#\d*$/.test(query.value)) return; // wait for Enter: the number may not be complete
    if (parseAddress().latent === null) location.replace(search());
    else location.hash = search();
  }, 150);
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    query.focus();
    query.select();
  }
  const towards = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (towards) main.querySelector(`a[rel="${towards}"]`)?.click();
});
addEventListener("hashchange", () => show(true));
show(false);
