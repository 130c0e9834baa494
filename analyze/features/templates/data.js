// Load data from script files: a page opened from disk can load nothing else. Each file is loaded once.

const CATALOGUE = JSON.parse(document.getElementById("catalogue").textContent);
const FILES = new Map();

function winnowData(value) {
  document.currentScript.received(value);
}

function load(folder, name) {
  const source = `data/${folder}/${name}.js`;
  if (!FILES.has(source)) {
    FILES.set(
      source,
      new Promise((resolve, reject) => {
        const script = make("script", { src: source, charset: "utf-8" });
        script.received = resolve;
        script.addEventListener("error", () => {
          FILES.delete(source);
          reject(new Error(`${source} is missing: run make analyze again`));
        });
        document.head.append(script);
      }),
    );
  }
  return FILES.get(source);
}

const text = () => load(CATALOGUE.text, "text");
const overview = (dictionary) => load(dictionary.data, "latents");

async function record(dictionary, latent) {
  const { chunk } = await overview(dictionary);
  return (await load(dictionary.data, Math.floor(latent / chunk)))[latent % chunk];
}

// ---- addresses: #HOOK/NAME?search=…&sort=… is a list, #HOOK/NAME/123 a latent

function address(dictionary, latent = null, options = {}) {
  const given = Object.entries(options).filter(([, value]) => value);
  const query = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#${dictionary.id.split("/").map(encodeURIComponent).join("/")}${latent === null ? "" : `/${latent}`}${query}`;
}

function parseAddress() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  let parts = [];
  try {
    parts = path.split("/").map(decodeURIComponent);
  } catch {
    // an address cut off inside an escape: treat it as empty
  }
  const id = parts.slice(0, 2).join("/");
  const dictionary = CATALOGUE.dictionaries.find((d) => d.id === id);
  const latent = /^\d+$/.test(parts[2] || "") ? Number(parts[2]) : null;
  const options = Object.fromEntries(new URLSearchParams(query));
  const last = CATALOGUE.dictionaries[CATALOGUE.dictionaries.length - 1];
  return { dictionary: dictionary || last, known: Boolean(dictionary) || !id, latent, options };
}
