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
 * segments: {start_s, end_s, value, color, press}; `press` makes a segment a button of the strip.
 */
export function strip(name, segments, end_s, { mark_s = null, colorOf }) {
  const at = (seconds) => (1000 * Math.min(end_s, Math.max(0, seconds))) / end_s;
  const picture = svg("svg", {
    viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${name}: ${describe(segments)}`,
  }, svg("rect", { width: 1000, height: HEIGHT, fill: EMPTY }));
  for (const each of segments) {
    const left = at(each.start_s);
    const part = svg("rect", {
      x: left, width: Math.max(1, at(each.end_s) - left), height: HEIGHT,
      fill: each.color ?? colorOf(each.value), class: each.press ? "press" : null,
      stroke: each.edge ?? null, on: each.press ? { click: each.press } : {},
    }, svg("title", {}, `${each.value}, ${clock(each.start_s)} to ${clock(each.end_s)}`));
    picture.append(part);
  }
  if (mark_s !== null) {
    picture.append(svg("rect", { x: at(mark_s) - 1, width: 2.5, height: HEIGHT, class: "mark" }));
  }
  return h("div", { class: "strip-row" }, h("span", {}, name), picture);
}

/** Return the clock below strips. */
export function axis(end_s) {
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
