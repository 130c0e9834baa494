"use strict";
// Make elements, and show tokens as visible text. Text always becomes a text node: a token cannot be markup.

const GLYPHS = { "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };
// characters that are invisible, or that change the order of the text around them
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/u;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// Put a token's text into an element. In running text a single space stays a space; elsewhere spaces show as dots.
function paint(node, text, running) {
  for (const piece of text.match(/ +|[^ ]/gu) || ["∅"]) {
    const shown = glyph(piece, running);
    if (shown === piece) node.append(piece);
    else node.append(make("i", { class: "unseen" }, shown));
  }
  node.normalize();
  if (!text) node.className += " unseen";
  return node;
}

function glyph(piece, running) {
  if (piece[0] === " ") return piece.length > 6 ? `·×${piece.length}` : running && piece === " " ? " " : "·".repeat(piece.length);
  return GLYPHS[piece] || (UNSEEN.test(piece) ? `\\u{${piece.codePointAt(0).toString(16)}}` : piece);
}

// A token's text for places without markup: titles and labels.
function named(text) {
  return paint(make("span"), text, false).textContent;
}

function chip(text, attributes = {}, ...rest) {
  return make("span", { ...attributes, class: `chip ${attributes.class || ""}`.trim() }, paint(make("bdi"), text, false), ...rest);
}

function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(digits - 1).replace("e-", "e−").replace("e+", "e");
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 }).replace("-", "−");
}

// Keep trailing zeros, so that values in a column line up.
function exact(value, digits = 3) {
  const size = Math.abs(value);
  return size >= 1e-3 && size < 10 ** digits ? value.toPrecision(digits).replace("-", "−") : number(value, digits);
}

const count = (value) => value.toLocaleString("en");

function percent(share) {
  return share === 0 ? "0 %" : share < 1e-4 ? "<0.01 %" : `${number(100 * share, share < 0.01 ? 2 : 3)} %`;
}
