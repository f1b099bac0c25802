// Runs over each other: curves of their logs, probe and drift, alarms. The page reads on by itself.

import { get } from "./api.js";
import { chart, colorAt } from "./chart.js";
import { h, labeled, missing, redraw, select, short, table } from "./dom.js";

const EVERY_MS = 5000;
const WAIT = "waiting for data (share)";
const OF_GPU = ["gpu_utilization", "gpu_memory_gib", "gpu_temperature_c"];
const DEFAULT = ["loss", WAIT, "clips_per_s", "gradient_norm", "mfu", ...OF_GPU, "token_std", "rankme", "lr"];
const LOGARITHMIC = new Set(["lr", "gradient_norm"]);

export async function open(parts, query, subjects) {
  const runs = subjects.runs.map((each, number) => ({ ...each, number, color: colorAt(number), isShown: true }));
  let further = "";
  let timer = 0;
  let isLive = true;
  const body = h("div", {});
  const names = h("span", {});

  const refresh = async () => {
    clearTimeout(timer);
    const shown = runs.filter((run) => run.isShown);
    await Promise.all(shown.map((run) => load(run, further)));
    if (!isLive) return;
    const known = [...new Set(shown.flatMap((run) => run.state?.names ?? []))].sort();
    if (names.dataset.known !== known.join()) {
      names.dataset.known = known.join();
      names.replaceChildren(labeled("another column", select([["", "none"], ...known], further, (name) => {
        further = name;
        refresh();
      })));
    }
    redraw(body, draw(shown, further));
    timer = setTimeout(refresh, document.hidden ? 6 * EVERY_MS : EVERY_MS);
  };

  await refresh();
  return {
    nodes: [
      h("h1", {}, "Runs"),
      h("form", { class: "fields", on: { submit: (event) => event.preventDefault() } }, runs.map((run) =>
        h("label", {}, h("input", { type: "checkbox", checked: true, on: { change: (event) => {
          run.isShown = event.target.checked;
          refresh();
        } } }), h("span", {}, run.address))), names),
      body,
    ],
    leave: () => {
      isLive = false;
      clearTimeout(timer);
    },
  };
}

async function load(run, further) {
  try {
    const wanted = [...DEFAULT, "data_wait_s", "step_s", "mean_baseline_loss", "copy_baseline_loss"];
    run.state = await get(`/api/runs/${run.number}`);
    run.logged = await get(`/api/runs/${run.number}/curves`, { name: [...wanted, further] });
    run.error = "";
  } catch (error) {
    run.error = error.message;
  }
}

function draw(shown, further) {
  const readable = shown.filter((run) => run.logged);
  const lines = (name) => readable.map((run) => ({ name: run.address, color: run.color, ...curve(run, name) }));
  const known = new Set(readable.flatMap((run) => run.state.names));
  const titles = [...new Set([...DEFAULT, further])].filter((name) => name === WAIT || known.has(name));
  const probes = (name, rows, value) => chart(name, readable.map((run) => ({
    name: run.address, color: run.color, step: rows(run).map((row) => row.step), mean: rows(run).map(value),
  })));
  return [
    ...shown.filter((run) => run.error).map((run) => missing(`${run.address}: ${run.error}`)),
    ...readable.filter((run) => run.state.problem).map((run) => missing(run.state.problem)),
    states(readable),
    ...readable.flatMap((run) => run.logged.alarms.slice(-5).map((alarm) =>
      missing(`${run.address}, step ${alarm.step}: ${alarm.text}`))),
    h("section", { class: "charts" }, titles.map((name) => chart(name, lines(name), { log: LOGARITHMIC.has(name) })),
      readable.some((run) => run.logged.probes.length)
        && probes("probe: macro F1 of kNN", (run) => run.logged.probes, (row) => row.score),
      readable.some((run) => run.logged.drift.length)
        && probes("drift: mean cosine with the start", (run) => run.logged.drift, (row) => row.cosine)),
    withoutGpu(readable),
    ...readable.map(plan),
  ].filter(Boolean);
}

/** Return a sentence about the runs whose log has no figure of a GPU. */
function withoutGpu(runs) {
  const without = runs.filter(({ state }) => state.names.length && !OF_GPU.some((name) => state.names.includes(name)));
  return without.length > 0 && h("p", { class: "note" },
    `No figures of a GPU are in the log of ${without.map((run) => run.address).join(", ")}. A run on a CPU has none.`);
}

/** Return a curve of a run; the share of waiting is a quotient of two. */
function curve(run, name) {
  const empty = { step: [], mean: [], low: [], high: [] };
  if (name !== WAIT) return run.logged.curves[name] ?? empty;
  const { data_wait_s: wait, step_s: step } = run.logged.curves;
  if (!wait || !step || wait.step.length !== step.step.length) return empty;
  const mean = wait.mean.map((value, index) => value / step.mean[index]);
  return { step: wait.step, mean, low: mean, high: mean };
}

function states(runs) {
  const headers = ["run", "last row", ...["step", "loss", "baseline: mean", "baseline: copy", "clips/s", "MFU", "starts"]
    .map((text) => ({ text, number: true }))];
  return table(headers, runs.map(({ address, state, logged }) => {
    const last = (name) => logged.curves[name]?.mean.at(-1) ?? null;
    const cell = (value) => ({ text: short(value), number: true });
    return [address, state.age_s === null ? "none yet" : `${age(state.age_s)} ago`, cell(state.last.step),
      cell(state.last.loss), cell(last("mean_baseline_loss")), cell(last("copy_baseline_loss")),
      cell(state.last.clips_per_s), cell(state.last.mfu), cell(state.starts.length)];
  }), "states of the runs");
}

function age(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function plan(run) {
  if (!run.state.plan) return null;
  const right = ["clips", "share", "epochs"].map((text) => ({ text, number: true }));
  return h("details", {}, h("summary", {}, `Plan and report of ${run.address}`),
    table(["domain", "source", ...right], run.state.plan.sources.map((each) =>
      [each.domain, each.source, each.samples, each.share, each.epochs]), "planned draws"),
    h("p", {}, h("a", { href: `/runs/${run.number}/report`, target: "_blank", rel: "noopener" },
      "The report of this run, with reconstructions"), " (an encoder runs on this machine: it may take minutes)"));
}
