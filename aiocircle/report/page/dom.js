// Elements are made, never parsed: names from outside go in as text or as attributes that are no code.
const NS = "http://www.w3.org/2000/svg";

function element(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const html = (name, attributes, ...children) => element(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) => element(document.createElementNS(NS, name), attributes, children);
const text = (x, y, words, more) => svg("text", { x: near(x), y: near(y), ...more }, words);
const near = (number) => Math.round(number * 10) / 10;

function rectangle(x, y, width, height, more) {
  return svg("rect", { x: near(x), y: near(y), width: near(Math.max(0, width)), height: near(Math.max(0, height)), ...more });
}

function line(x1, y1, x2, y2, kind) {
  return svg("line", { x1: near(x1), y1: near(y1), x2: near(x2), y2: near(y2), class: kind });
}

// A column with its upper corners rounded: it stands on its baseline.
function column(x, y, width, height, kind) {
  const r = Math.min(2, width / 2, height);
  const d = `M${near(x)},${near(y + height)}v${near(r - height)}q0,${-r} ${r},${-r}h${near(width - 2 * r)}q${r},0 ${r},${r}v${near(height - r)}z`;
  return svg("path", { d, class: kind });
}

const ruler = document.createElement("canvas").getContext("2d");

function widthOf(words, font = "12.5px") {
  ruler.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(words).width;
}

// A name that fits, with its middle left out if need be: names of tests differ at both ends.
function fitted(words, room, font) {
  if (widthOf(words, font) <= room) return words;
  const letters = [...words];
  let low = 1;
  let high = Math.min(letters.length, 200);
  const cut = (kept) => letters.slice(0, Math.ceil(kept / 2)).join("") + "…" + letters.slice(letters.length - Math.floor(kept / 2)).join("");
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (widthOf(cut(middle), font) <= room) low = middle;
    else high = middle - 1;
  }
  return cut(low);
}
