// A mixture: sliders for levels and weights; shares, repeats and hours come from the server's plan.

import { get, settled } from "./api.js";
import { h, labeled, missing, percent, redraw, select, short, svg, table } from "./dom.js";
import { COLORS } from "./strips.js";

const SPLITS = ["train", "val", "test"];
const MOST_WEIGHT = 10;
const EPOCHS = 10;
const numeric = (text) => ({ text, number: true });

export async function open(parts, query, subjects) {
  const columns = new Set();
  for (const [number] of subjects.corpora.entries()) {
    const facts = await get(`/api/corpora/${number}`);
    for (const each of facts.columns) {
      if (each.values.length || /^(cluster_\d+|procedure)$/.test(each.name)) columns.add(each.name);
    }
  }
  const clips = subjects.corpora.reduce((sum, each) => sum + each.clips, 0);
  const samples = EPOCHS * Math.max(clips, 1);
  const start = await get("/api/mixture", { samples });
  const state = { ...start.mixture, samples };
  const sources = start.sources.map((each) => each.source);
  const result = h("div", { "aria-live": "polite" });
  const yaml = h("pre", { id: "yaml", tabindex: "0" });
  let latest = 0;

  const refresh = async () => {
    const current = ++latest;
    const { samples, ...mixture } = state;
    try {
      const plan = await get("/api/mixture", { mixture: JSON.stringify(mixture), samples });
      if (current !== latest) return;
      yaml.textContent = plan.yaml;
      result.replaceChildren(...draw(plan));
    } catch (error) {
      if (current === latest) result.replaceChildren(missing(error.message));
    }
  };
  const change = settled(refresh, 60);
  await refresh();

  return {
    nodes: [
      h("h1", {}, "Mixture"),
      h("p", { class: "note" }, "What a run would draw, planned as for a run. Copy the YAML into a file, and give it as "
        + "--mixture to a recipe or to surgrec mix."),
      h("div", { class: "columns" },
        h("div", { class: "controls" }, controls(state, sources, [...columns].sort(), change)),
        h("div", {}, result)),
      h("section", {}, h("h2", {}, "YAML"), copyButton(yaml), yaml),
    ],
  };
}

function controls(state, sources, columns, change) {
  const levels = h("div", { class: "filters" });
  const drawLevels = () => redraw(levels, [
    ...state.levels.map((level, index) => h("div", { class: "filter" },
      select(columns, level.by, (by) => {
        level.by = by;
        change();
      }, { "aria-label": `column of level ${index + 1}` }),
      slider(`alpha of level ${index + 1}`, level.alpha, 1, 0.05, (alpha) => {
        level.alpha = alpha;
        change();
      }),
      h("button", { type: "button", on: { click: () => {
        state.levels.splice(index, 1);
        drawLevels();
        change();
      } } }, "Remove"))),
    h("button", { type: "button", on: { click: () => {
      state.levels.push({ by: columns.find((each) => !state.levels.some((level) => level.by === each)) ?? "source", alpha: 0.5 });
      drawLevels();
      levels.querySelector(".filter:last-of-type select")?.focus();
      change();
    } } }, "Add a level")]);
  drawLevels();

  const number = (value, attributes, set) => {
    const field = h("input", { type: "number", value: value ?? "", ...attributes,
      on: { input: () => {
        set(field.value === "" ? null : Number(field.value));
        change();
      } } });
    return field;
  };
  return [
    h("div", { class: "fields" },
      labeled("samples of the run", number(state.samples, { min: 1, id: "samples" }, (value) => { state.samples = value ?? 1; })),
      labeled("most repeats", number(state.max_repeats, { min: 0, step: "any", placeholder: "no limit" },
        (value) => { state.max_repeats = value; })),
      labeled("shortest clip (s)", number(state.min_duration_s, { min: 0, step: "any" },
        (value) => { state.min_duration_s = value ?? 0; })),
      labeled("block", number(state.block, { min: 1 }, (value) => { state.block = value ?? 1024; })),
      labeled("duplicates", select(["all", "one"], state.duplicates, (value) => {
        state.duplicates = value;
        change();
      }))),
    h("fieldset", {}, h("legend", {}, "stored splits"), SPLITS.map((split) => h("label", {},
      h("input", { type: "checkbox", checked: state.splits.includes(split), on: { change: (event) => {
        state.splits = SPLITS.filter((each) => (each === split ? event.target.checked : state.splits.includes(each)));
        change();
      } } }), h("span", {}, ` ${split} `)))),
    h("h2", {}, "Levels"),
    h("p", { class: "note" }, "Outermost first. Alpha 0: equal shares; 0.5: by the square root of the size; 1: by size."),
    levels,
    h("h2", {}, "Weights"),
    h("div", { class: "weights" }, sources.map((source) => slider(source, state.weights[source] ?? 1, MOST_WEIGHT, 0.1, (weight) => {
      if (weight === 1) delete state.weights[source];
      else state.weights[source] = weight;
      change();
    }))),
  ];
}

/** Return a slider with its number. */
function slider(name, value, most, step, set) {
  const shown = h("output", {}, short(value));
  const range = h("input", { type: "range", min: 0, max: most, step, "aria-label": name, on: { input: () => {
    shown.textContent = short(Number(range.value));
    set(Number(range.value));
  } } });
  range.value = value;
  return h("label", { class: "slider" }, h("span", {}, name), range, shown);
}

function draw(plan) {
  const most = Math.max(...plan.sources.map((each) => each.share), 1e-9);
  const bar = (share, color) => svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { width: (100 * share) / most, height: 10, fill: color }));
  const row = (each, name, color) => [name, { text: [percent(each.share), " "], number: true },
    color ? bar(each.share, color) : "", each.samples, each.hours, each.draws,
    { text: each.epochs.toFixed(2), number: true }, each.hours_drawn];
  const headers = [numeric("share"), "", numeric("clips"), numeric("hours"), numeric("draws"), numeric("repeats"),
    numeric("hours drawn")];
  const domains = plan.domains.map((each) => each.domain);
  const colorOf = (domain) => COLORS[domains.indexOf(domain) % COLORS.length];
  return [
    plan.warning && missing(`${plan.warning[0].toUpperCase()}${plan.warning.slice(1)}.`),
    table(["domain", ...headers], plan.domains.map((each) => row(each, each.domain, "")), "domains"),
    table(["source", ...headers], plan.sources.map((each) => row(each, each.source, colorOf(each.domain))), "sources"),
  ].filter(Boolean);
}

function copyButton(yaml) {
  const done = h("span", { role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(yaml.textContent);
      done.textContent = " copied";
    } catch {
      getSelection().selectAllChildren(yaml);
      done.textContent = " the browser does not allow it; the text is selected, copy it with Ctrl-C";
    }
  };
  return h("p", {}, h("button", { type: "button", on: { click: copy } }, "Copy"), done);
}
