// Time as strips: labels, predictions, clips.

import { clock, h, svg } from "./dom.js";

export const COLORS = [
  "#2563ab", "#c8702a", "#2f8f5b", "#a63d57", "#7857a8", "#0f7f8c",
  "#8a6d1d", "#5b6b7f", "#c2478f", "#4f7a28", "#3f57c4", "#9a4b26",
];
const EMPTY = "#e3e8ee";
const HEIGHT = 18;

/** Return a function from a value to a color, the same for equal values. */
export function palette(values) {
  const order = new Map([...new Set(values)].map((value, index) => [value, index]));
  return (value) => COLORS[(order.get(value) ?? 0) % COLORS.length];
}

/**
 * Return a strip.
 *
 * segments: {start_s, end_s, value, color, press}; `press` makes a segment a button. A strip with
 * buttons is one stop of Tab, at first at the button `at`; the arrow keys move in it.
 */
export function strip(name, segments, end_s, { mark_s = null, colorOf, at = 0 }) {
  const x = (seconds) => (1000 * Math.min(end_s, Math.max(0, seconds))) / end_s;
  const parts = segments.map((each) => svg("rect", {
    x: x(each.start_s), width: Math.max(1, x(each.end_s) - x(each.start_s)), height: HEIGHT,
    fill: each.color ?? colorOf(each.value), stroke: each.edge ?? null,
    ...(each.press ? { class: "press", role: "button", on: { click: each.press } } : {}),
  }, svg("title", {}, `${each.value}, ${clock(each.start_s)} to ${clock(each.end_s)}`)));
  const buttons = parts.filter((part, index) => segments[index].press);
  const about = buttons.length ? { role: "toolbar", "aria-label": `${name}: ${buttons.length} parts` }
    : { role: "img", "aria-label": `${name}: ${describe(segments)}` };
  const mark = mark_s === null ? [] : [svg("rect", { x: x(mark_s) - 1, width: 2.5, height: HEIGHT, class: "mark" })];
  const picture = svg("svg", { viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", ...about },
    svg("rect", { width: 1000, height: HEIGHT, fill: EMPTY }), parts, mark);
  const row = h("div", { class: "strip-row" }, h("span", {}, name), picture);
  if (buttons.length) walk(row, picture, buttons, at);
  return row;
}

/**
 * Let the keyboard move along the buttons of a strip, and press them. A ring shows the place.
 *
 * The row listens, since an SVG that listens to the focus becomes a stop of Tab in Chromium.
 */
function walk(row, picture, buttons, start) {
  let at = start;
  const ring = ["under", "over"].map((kind) => svg("rect", { y: 1, height: HEIGHT - 2, class: `ring ${kind}` }));
  const stop = (index) => {
    buttons[at].setAttribute("tabindex", "-1");
    at = Math.min(buttons.length - 1, Math.max(0, index));
    buttons[at].setAttribute("tabindex", "0");
  };
  for (const button of buttons) button.setAttribute("tabindex", "-1");
  stop(start);

  row.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own keys
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to !== undefined) {
      stop(to);
      buttons[at].focus();
    } else if (["Enter", " "].includes(event.key)) {
      buttons[at].dispatchEvent(new MouseEvent("click", { bubbles: true }));
    } else return;
    event.preventDefault();
  });
  row.addEventListener("focusin", ({ target }) => {
    stop(buttons.indexOf(target));
    if (!target.matches(":focus-visible")) return;
    for (const each of ring) {
      for (const name of ["x", "width"]) each.setAttribute(name, target.getAttribute(name));
    }
    picture.append(...ring);
  });
  row.addEventListener("focusout", () => ring.forEach((each) => each.remove()));
}

/** Return strips above their clock, and a line about the segment under the pointer or the keyboard. */
export function stripGroup(rows, end_s) {
  const group = h("div", { class: "strips" }, rows, axis(end_s));
  const hint = group.querySelector(".press")
    ? "Tab leads to a strip, the arrow keys move along it, Enter shows the moment." : "";
  const line = h("p", { class: "note", "aria-hidden": "true" }, hint); // the segments have names
  const say = ({ target }) => {
    line.textContent = target.querySelector("title")?.textContent ?? hint;
  };
  for (const event of ["pointerover", "focusin"]) group.addEventListener(event, say);
  group.append(line);
  return group;
}

/** Return the clock below strips. */
function axis(end_s) {
  return h("div", { class: "strip-row axis" }, h("span", {}),
    h("div", {}, [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, clock(part * end_s)))));
}

/** Return a legend of values. */
export function legend(values, colorOf) {
  return h("p", { class: "legend" }, [...new Set(values)].slice(0, 40).map((value) => {
    const sign = svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" },
      svg("rect", { width: 10, height: 10, rx: 2, fill: colorOf(value) }));
    return h("span", {}, sign, value);
  }));
}

function describe(segments) {
  const few = segments.slice(0, 8).map((each) => `${each.value} from ${clock(each.start_s)}`);
  return `${few.join(", ")}${segments.length > 8 ? `, and ${segments.length - 8} more` : ""}` || "empty";
}
