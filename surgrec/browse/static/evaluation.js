// An evaluation: scores, and each case's labels and predictions over time; errors as video.

import { address, get, place } from "./api.js";
import { clock, h, labeled, missing, percent, redraw, select, short, table } from "./dom.js";
import { chart } from "./chart.js";
import { video } from "./clip.js";
import { legend, palette, strip, stripGroup } from "./strips.js";

const numeric = (text) => ({ text, number: true });

export async function open(parts, query, subjects) {
  const [number] = parts;
  if (number === undefined) return { nodes: choice(subjects.evaluations) };
  const facts = await get(`/api/evaluations/${number}`);
  const state = {
    prediction: Number(query.get("prediction") ?? facts.primary),
    case: query.get("case") ?? worst(facts, facts.primary),
  };
  const shown = h("div", { "aria-live": "polite" });
  const list = h("div", {});
  const change = async (values) => {
    Object.assign(state, values);
    if (place().parts[0] === "evaluations") {
      history.replaceState(null, "", address(["evaluations", number],
        { case: state.case, prediction: String(state.prediction) }));
    }
    redraw(list, [cases(facts, state, change)]);
    try {
      const found = await get(`/api/evaluations/${number}/case`, { case: state.case, prediction: String(state.prediction) });
      shown.replaceChildren(...drawCase(facts, found));
    } catch (error) {
      shown.replaceChildren(missing(error.message));
    }
  };
  await change({});
  const options = facts.predictions.map((each, index) => [String(index), title(each)]);
  return {
    nodes: [
      h("h1", {}, `${facts.task}: ${facts.encoder || "an encoder"}`),
      h("p", { class: "note" }, `${facts.address}; split ${facts.split}`),
      ...facts.overrides.map((sentence) => missing(sentence)),
      scores(facts),
      h("details", {}, h("summary", {}, "Protocol"), h("p", {}, facts.protocol)),
      h("section", {}, h("h2", {}, "Cases"),
        h("div", { class: "fields" }, labeled("predictions", select(options, String(state.prediction),
          (value) => change({ prediction: Number(value) }), { id: "prediction" }))),
        list),
      h("section", {}, shown),
    ],
  };
}

function choice(evaluations) {
  return [h("h1", {}, "Evaluations"), h("ul", {}, evaluations.map((each, number) =>
    h("li", {}, h("a", { href: `#/evaluations/${number}` }, each.address))))];
}

function title({ features, classifier, seed, head_seed: head }) {
  const seeds = [seed ? `seed ${seed}` : "", head ? `head seed ${head}` : ""].filter(Boolean);
  return [`${classifier} on ${features === "none" ? "no features" : `${features} features`}`, ...seeds].join(", ");
}

/** Return the case with the smallest share of right windows, the most useful one to look at. */
function worst(facts, prediction) {
  const right = facts.right[prediction];
  const index = right ? right.indexOf(Math.min(...right)) : 0;
  return facts.cases[index]?.case ?? "";
}

function scores(facts) {
  const interval = (metric) => (metric
    ? { text: `${short(metric.value, 3)} (${short(metric.low, 3)} to ${short(metric.high, 3)})`, number: true } : "");
  const metrics = facts.metrics.length ? facts.metrics : Object.keys(facts.scores[0]?.metrics ?? {});
  const verdicts = facts.verdicts.filter((each) => each.primary && each.metric).map((each) =>
    h("p", {}, h("strong", {}, `Verdict: ${each.verdict}`), `. Difference to ${each.against ?? "random"} in ${each.metric}: `
      + `${short(each.difference, 3)} (${short(each.low, 3)} to ${short(each.high, 3)}) over ${each.cases} cases.`));
  return h("div", {}, verdicts, facts.scores.length > 0 && table(["features", "classifier", numeric("seeds"), ...metrics.map(numeric)],
    facts.scores.map((row) => [row.features, facts.names[row.classifier] ?? row.classifier, row.seeds,
      ...metrics.map((name) => interval(row.metrics?.[name]))]), "scores"));
}

function cases(facts, state, change) {
  const right = facts.right[state.prediction];
  const order = facts.cases.map((each, index) => index);
  if (right) order.sort((a, b) => right[a] - right[b]);
  return table(["case", numeric("windows"), ...(right ? [numeric("right")] : [])], order.map((index) => {
    const each = facts.cases[index];
    const press = () => change({ case: each.case });
    return [h("button", { type: "button", class: "sort", "aria-pressed": String(each.case === state.case), on: { click: press } },
      each.case), each.windows, ...(right ? [{ text: percent(right[index]), number: true }] : [])];
  }), "cases");
}

function drawCase(facts, found) {
  const screen = h("div", { class: "player" });
  const nodes = [h("h2", {}, `Case ${found.case}`)];
  for (const each of found.videos) {
    nodes.push(h("h3", {}, `Video ${each.video}`));
    nodes.push(...(each.errors ? strips(facts, each, screen) : numbers(each)));
  }
  return [...nodes, screen];
}

function numbers({ times, label, number: predicted }) {
  return [chart("number over seconds", [
    { name: "label", color: "#1d2530", step: times, mean: label },
    { name: "prediction", color: "#c8702a", step: times, mean: predicted },
  ])];
}

function strips(facts, shown, screen) {
  const colorOf = palette(facts.classes);
  const color = (each) => ({ ...each, color: facts.classes.includes(each.value) ? colorOf(each.value) : "#8b95a3" });
  const press = (error) => () => play(facts, error, screen);
  const rows = [
    strip("label", shown.label.map(color), shown.end_s, { colorOf }),
    strip("prediction", shown.predicted.map(color), shown.end_s, { colorOf }),
    strip("errors", shown.errors.map((each) => ({ ...each, color: "#a63d57",
      value: `${each.predicted} for ${each.label}`, press: press(each) })), shown.end_s, { colorOf }),
  ];
  const errors = shown.errors.slice(0, 200).map((each) => [
    h("button", { type: "button", on: { click: press(each) } }, "Watch"), clock(each.start_s), clock(each.end_s),
    each.label, each.predicted]);
  return [
    stripGroup(rows, shown.end_s),
    legend(facts.classes, colorOf),
    h("details", { open: shown.errors.length > 0 && shown.errors.length <= 10 },
      h("summary", {}, `${short(shown.errors.length)} stretches of errors`),
      table(["", "from", "to", "label", "prediction"], errors, "errors")),
  ];
}

/** Show the clip in which an error lies, from the error on. */
function play(facts, error, screen) {
  const about = h("p", {}, `Predicted ${error.predicted}, labeled ${error.label}, from ${clock(error.start_s)}`);
  if (!error.clip) {
    screen.replaceChildren(about, missing("No open corpus shows this moment. Start surgrec browse with the corpus of the "
      + `evaluation, too${facts.corpora.length ? `: ${facts.corpora.join(", ")}` : ""}.`));
    return;
  }
  const [corpus, clip] = error.clip;
  const player = video(corpus, clip, { loop: false });
  player.addEventListener("loadedmetadata", async () => {
    const { values } = await get(`/api/corpora/${corpus}/clips/${clip}`);
    player.currentTime = Math.max(0, Math.min(player.duration, error.time_s - values.start_s));
    player.play().catch(() => {}); // the player shows why
  }, { once: true });
  screen.replaceChildren(about, player, h("p", {}, h("a", { href: `#/corpora/${corpus}/clips/${clip}` }, "The clip in its video")));
  screen.scrollIntoView({ block: "nearest" });
}
