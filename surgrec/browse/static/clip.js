// A clip: its video, its place in time, labels, what was dropped, copies beside it.

import { get } from "./api.js";
import { clock, h, missing, table } from "./dom.js";
import { legend, palette, strip, stripGroup } from "./strips.js";

const FIRST = ["key", "source", "domain", "procedure", "case", "video", "view", "split", "start_s",
  "duration_s", "blur", "brightness", "motion", "model_score", "duplicate_group"];
const FILTERED = /^(source|domain|procedure|case|video|split|duplicate_group|cluster_\d+)$/;

export async function open(corpus, number) {
  const clip = await get(`/api/corpora/${corpus}/clips/${number}`);
  const { values, clips } = clip;
  const place = clips.number.indexOf(clip.number);
  const to = (index) => `#/corpora/${corpus}/clips/${clips.number[index]}`;
  const player = video(corpus, clip.number);
  const step = (text, index) => (clips.number[index] === undefined
    ? h("a", { class: "off", role: "link", "aria-disabled": "true" }, text) : h("a", { href: to(index), class: "step" }, text));
  return {
    nodes: [
      h("p", { class: "note" }, h("a", { href: `#/corpora/${corpus}/clips` }, "All clips")),
      h("h1", {}, values.key),
      h("div", { class: "columns" },
        h("div", { class: "player" }, player,
          h("p", { class: "pager" }, step("Earlier clip", place - 1),
            h("span", {}, `${place + 1} of ${clips.all} clips of the video`), step("Later clip", place + 1))),
        h("div", {}, facts(corpus, values))),
      h("section", {}, h("h2", {}, "In its video"), ...timeline(clip, to, player)),
      ...copies(corpus, clip),
    ],
    leave: () => player.pause(),
  };
}

/** Return a player of a clip. */
export function video(corpus, number, attributes = {}) {
  const player = h("video", { controls: true, loop: true, muted: true, playsinline: true, preload: "auto",
    src: `/api/corpora/${corpus}/clips/${number}/video`, ...attributes });
  player.muted = true;
  player.addEventListener("error", () => {
    player.after(missing("The clip cannot be played: its bytes cannot be read, or the browser lacks H.264."));
  }, { once: true });
  return player;
}

function facts(corpus, values) {
  const names = [...FIRST.filter((name) => name in values),
    ...Object.keys(values).filter((name) => !FIRST.includes(name))];
  const all = (name) => {
    const comparison = { column: name, comparison: "is", value: values[name] };
    return `#/corpora/${corpus}/clips?${new URLSearchParams({ filters: JSON.stringify([comparison]) })}`;
  };
  const rows = (shown) => shown.filter((name) => ![null, ""].includes(values[name])).map((name) => [name,
    FILTERED.test(name) && values[name] !== 0 ? h("a", { href: all(name) }, String(values[name])) : String(values[name])]);
  return [
    table(["column", "value"], rows(FIRST.filter((name) => name in values)), "columns of the clip"),
    h("details", {}, h("summary", {}, "All columns"), table(["column", "value"], rows(names), "all columns of the clip")),
  ];
}

/** Return strips of the video's clips, labels and dropped segments. */
function timeline(clip, to, player) {
  const { clips, labels, dropped, values } = clip;
  const ends = [...clips.start_s.map((start, index) => start + clips.duration_s[index]),
    ...labels.map((each) => each.end_s), ...dropped.map((each) => each.end_s)];
  const end_s = Math.max(...ends);
  const mark_s = values.start_s;
  const colorOf = palette(labels.map((each) => `${each.task}: ${each.value}`));
  const rows = [strip("clips", clips.number.map((each, index) => ({
    start_s: clips.start_s[index], end_s: clips.start_s[index] + clips.duration_s[index],
    value: each === clip.number ? "this clip" : "clip", color: each === clip.number ? "#1d2530" : "#a9c0da",
    edge: "#fff", press: () => { location.hash = to(index); },
  })), end_s, { mark_s, colorOf, at: clips.number.indexOf(clip.number) })];
  for (const task of [...new Set(labels.map((each) => each.task))].sort()) {
    const own = labels.filter((each) => each.task === task)
      .map((each) => ({ ...each, value: `${task}: ${each.value}`, press: seek(each, clip, to, player) }));
    for (const [index, line] of lanes(own).entries()) {
      rows.push(strip(index ? "" : task, line, end_s, { mark_s, colorOf }));
    }
  }
  if (dropped.length) {
    rows.push(strip("dropped", dropped.map((each) => ({ ...each, value: each.reason, color: "#a63d57" })), end_s,
      { mark_s, colorOf }));
  }
  return [
    stripGroup(rows, end_s),
    legend(labels.map((each) => `${each.task}: ${each.value}`), colorOf),
    labels.length === 0 && h("p", { class: "note" }, "The video has no labels."),
    clip.labels_all > labels.length
      && missing(`The video has ${clip.labels_all} labels; the first ${labels.length} are shown.`),
    labels.length > 0 && h("details", {}, h("summary", {}, "Labels as a table"),
      table(["task", "value", "from", "to"],
        labels.map((each) => [each.task, each.value, clock(each.start_s), clock(each.end_s)]), "labels")),
    dropped.length > 0 && h("details", {}, h("summary", {}, "Dropped stretches as a table"),
      table(["reason", "from", "to"],
        dropped.map((each) => [each.reason, clock(each.start_s), clock(each.end_s)]), "dropped")),
  ].filter(Boolean);
}

/** Return what a press on a label does: jump to its start, in this clip or in another. */
function seek(label, { clips, values }, to, player) {
  return () => {
    const within = label.start_s - values.start_s;
    if (within >= 0 && within < values.duration_s) {
      player.currentTime = within;
      return;
    }
    const index = clips.start_s.findIndex((start, place) => start + clips.duration_s[place] > label.start_s);
    if (index >= 0) location.hash = to(index);
  };
}

/** Divide segments into lines without overlaps. */
function lanes(segments) {
  const lines = [];
  for (const each of segments) {
    const free = lines.find((line) => line.at(-1).end_s <= each.start_s + 1e-6);
    if (free) free.push(each);
    else lines.push([each]);
  }
  return lines.slice(0, 12);
}

function copies(corpus, clip) {
  if (!clip.copies.length) return [];
  const pair = (each) => h("figure", {}, h("figcaption", {},
    h("a", { href: `#/corpora/${corpus}/clips/${each.number}` }, each.values.key),
    `, ${each.values.split}, case ${each.values.case}`), video(corpus, each.number));
  const figures = [{ number: clip.number, values: clip.values }, ...clip.copies.slice(0, 5)].map(pair);
  const together = () => {
    for (const player of figures.map((each) => each.querySelector("video"))) {
      player.currentTime = 0;
      player.play().catch(() => {}); // the player shows why
    }
  };
  return [h("section", {}, h("h2", {}, "Copies"),
    h("p", { class: "note" }, `${clip.copies.length} other clips of duplicate group `
      + `${clip.values.duplicate_group} show parts of the same video.`),
    h("button", { type: "button", on: { click: together } }, "Play all from their starts"),
    h("div", { class: "beside" }, figures))];
}
