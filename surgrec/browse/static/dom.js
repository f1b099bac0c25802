// Elements, text and numbers. Text from the server only ever becomes text nodes or attributes
// that hold no code, so a hostile name is inert.

// The characters of surgrec.text.visible: controls, directions, halves of pairs, but no joiners of scripts.
const HIDDEN = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** Return text with characters that have no shape, or turn their surroundings, as escapes. */
export function visible(text) {
  return String(text).replace(HIDDEN, (each) => {
    const code = each.codePointAt(0);
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

/**
 * Return an element.
 *
 * Attributes: `on` maps events to listeners, `class` is the class; true and false set and leave out
 * an attribute. Children that are no nodes become text; null and false are left out.
 */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return an SVG element, as `h` does. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (key === "value") {
      element.value = value;
    } else if (value === true) {
      element.setAttribute(key, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, visible(value));
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : visible(child));
  }
  return element;
}

/** Replace what an element holds; the place of the keyboard, open details and scrolled tables stay. */
export function redraw(element, nodes) {
  const all = (selector) => [...element.querySelectorAll(selector)];
  const active = document.activeElement ?? document.body;
  const place = all(active.tagName).indexOf(active);
  const open = all("details").map((each) => each.open);
  const scrolled = all(".scroll").map((each) => each.scrollLeft);
  element.replaceChildren(...nodes);

  all("details").forEach((each, index) => { each.open = open[index] ?? each.open; });
  all(".scroll").forEach((each, index) => { each.scrollLeft = scrolled[index] ?? 0; });
  if (place >= 0) all(active.tagName)[place]?.focus({ preventScroll: true });
}

/** Return a table; a header or cell is text, a node, or {text, number: true}. */
export function table(headers, rows, caption = null) {
  const cell = (name) => (each) => {
    const isNumber = typeof each === "number" || (each && each.number);
    const content = each && each.number !== undefined ? each.text : each;
    return h(name, { class: isNumber ? "number" : null, scope: name === "th" ? "col" : null },
      typeof content === "number" ? short(content) : content);
  };
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || "table" },
    h("table", {},
      h("thead", {}, h("tr", {}, headers.map(cell("th")))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell("td")))))));
}

/** Return a number in few characters; empty for null. */
export function short(value, digits = 4) {
  if (value === null || value === undefined) return "";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 6 });
}

/** Return a share such as 12.3 %. */
export const percent = (value) => `${(100 * value).toFixed(1)} %`;

/** Return seconds as h:mm:ss. */
export function clock(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  const two = (number) => String(number).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** Return a labeled control. */
export function labeled(text, control) {
  return h("label", {}, h("span", {}, text), control);
}

/** Return a select with options, each a text or [value, text]. */
export function select(options, value, change, attributes = {}) {
  const list = options.map((each) => (Array.isArray(each) ? each : [each, each]));
  const made = h("select", { ...attributes, on: { change: () => change(made.value) } },
    list.map(([key, text]) => h("option", { value: key }, text)));
  made.value = value;
  return made;
}

/** Return a sentence about something that is missing or failed. */
export const missing = (sentence) => h("p", { class: "missing", role: "status" }, sentence);
