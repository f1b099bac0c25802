// Curves over steps, drawn as SVG.

import { h, short, svg } from "./dom.js";
import { COLORS } from "./strips.js";

const WIDTH = 560;
const HEIGHT = 240;
const BOX = { left: 58, right: 12, top: 10, bottom: 24 };
const LINES = 4;

/**
 * Return a chart.
 *
 * lines: {name, color, step, mean, low, high}; low and high are the band behind a line. Only points
 * with finite numbers are given.
 */
export function chart(title, lines, { log = false } = {}) {
  const shown = lines.filter((line) => line.step.length);
  const caption = h("figcaption", {}, title);
  if (!shown.length) return h("figure", { class: "chart" }, caption, h("p", { class: "note" }, "No values yet."));

  const positive = (value) => !log || value > 0;
  const values = shown.flatMap((line) => line.mean).filter(positive);
  const steps = shown.flatMap((line) => [line.step[0], line.step.at(-1)]);
  const scale = log ? Math.log10 : (value) => value;
  const [least, most] = spread(values.map(scale));
  const [first, last] = spread([Math.min(...steps), Math.max(...steps)], 0);
  const x = (step) => BOX.left + ((step - first) / (last - first)) * (WIDTH - BOX.left - BOX.right);
  const y = (value) => HEIGHT - BOX.bottom
    - ((Math.min(most, Math.max(least, scale(value))) - least) / (most - least)) * (HEIGHT - BOX.top - BOX.bottom);

  const parts = [];
  for (let index = 0; index <= LINES; index += 1) {
    const level = least + ((most - least) * index) / LINES;
    const value = log ? 10 ** level : level;
    parts.push(
      svg("line", { x1: BOX.left, x2: WIDTH - BOX.right, y1: y(value), y2: y(value), stroke: "#e9edf2" }),
      svg("text", { x: BOX.left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value, 3)));
    const step = first + ((last - first) * index) / LINES;
    parts.push(svg("text", { x: x(step), y: HEIGHT - 7,
      "text-anchor": index === 0 ? "start" : index === LINES ? "end" : "middle" }, short(Math.round(step))));
  }
  for (const line of shown) {
    const points = line.step.map((step, index) => [step, line.mean[index], index]).filter((each) => positive(each[1]));
    const path = (pairs) => pairs.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    if (line.low && shown.length === 1) {
      const low = points.map(([step, mean, index]) => [step, positive(line.low[index]) ? line.low[index] : mean]);
      const high = points.map(([step, , index]) => [step, line.high[index]]);
      parts.push(svg("polygon", { points: path([...high, ...low.reverse()]), fill: line.color, opacity: 0.15 }));
    }
    parts.push(points.length === 1
      ? svg("circle", { cx: x(points[0][0]), cy: y(points[0][1]), r: 3, fill: line.color })
      : svg("polyline", { points: path(points), fill: "none", stroke: line.color, "stroke-width": 1.8 }));
  }
  const about = shown.map((line) => `${line.name} from ${short(line.mean[0])} to ${short(line.mean.at(-1))}`);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": `${title} over steps: ${about.join("; ")}` }, parts);
  return h("figure", { class: "chart" }, caption, picture, key(shown));
}

function key(lines) {
  return h("p", { class: "legend" }, lines.map((line) => h("span", {},
    svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" },
      svg("rect", { width: 10, height: 10, rx: 2, fill: line.color })),
    `${line.name}: ${short(line.mean.at(-1))}`)));
}

/** Return the ends of an axis, with air around the values. */
function spread(values, air = 0.05) {
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const size = most - least || Math.abs(most) || 1;
  return most === least ? [least - size / 2, most + size / 2] : [least - size * air, most + size * air];
}

export const colorAt = (index) => COLORS[index % COLORS.length];
