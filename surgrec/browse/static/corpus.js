// A corpus: its sources, its settings, what was dropped. Clips have pages of their own.

import { address, get } from "./api.js";
import { h, labeled, missing, select, short, table } from "./dom.js";
import * as clip from "./clip.js";
import * as clips from "./clips.js";

const SIZES = ["videos", "cases", "clips", "hours", "GB", "shards", "videos that failed"];

export async function open(parts, query, subjects) {
  const [corpus, what, number] = parts;
  if (what === "clips" && number !== undefined) return clip.open(corpus, number);
  const facts = await get(`/api/corpora/${corpus}`);
  if (what === "clips") return clips.open(corpus, query, facts);
  if (what === "dropped") return dropped(corpus, query, facts);
  return { nodes: overview(corpus, facts) };
}

/** Return the links between the pages of a corpus. */
export function tabs(corpus, open) {
  const pages = [["", "Sources"], ["clips", "Clips"], ["dropped", "Dropped"]];
  return h("nav", { class: "tabs", "aria-label": "Pages of the corpus" }, pages.map(([path, text]) =>
    h("a", { href: address(["corpora", corpus, ...(path ? [path] : [])]),
      "aria-current": path === open ? "page" : null }, text)));
}

function overview(corpus, facts) {
  const of = (source) => address(["corpora", corpus, "clips"],
    { filters: JSON.stringify([{ column: "source", comparison: "is", value: source }]) });
  return [
    h("h1", {}, facts.address),
    tabs(corpus, ""),
    table(["source", "domain", ...SIZES.map((text) => ({ text, number: true })), "split rule"],
      facts.sources.map((each) => [
        h("a", { href: of(each.source) }, each.source), each.domain, each.videos, each.cases,
        each.clips, each.hours, each.bytes / 1e9, each.shards, each.failed, each.split_rule,
      ]), "sources"),
    facts.left_out.length > 0
      && missing(`These columns hold lists and are not shown: ${facts.left_out.join(", ")}.`),
    h("details", {}, h("summary", {}, "Settings and encoder of the build"),
      h("pre", {}, JSON.stringify({ settings: facts.settings, encoder: facts.encoder }, null, 1))),
    h("details", {}, h("summary", {}, `History: ${short(facts.history.length)} changes`),
      table(["at", "command", "source", { text: "added", number: true }, { text: "removed", number: true }],
        facts.history.map((each) =>
          [each.at, each.command, each.source, each.videos_added, each.videos_removed]), "history")),
  ].filter(Boolean);
}

async function dropped(corpus, query, facts) {
  const source = query.get("source") ?? "";
  const reason = query.get("reason") ?? "";
  const offset = Number(query.get("offset") ?? 0);
  const found = await get(`/api/corpora/${corpus}/dropped`, { source, reason, offset });
  const go = (change) => {
    location.hash = address(["corpora", corpus, "dropped"], { source, reason, ...change });
  };
  const reasons = [...new Set(found.sums.map((each) => each.reason))].sort();
  const start = [
    h("h1", {}, facts.address),
    tabs(corpus, "dropped"),
    h("p", { class: "note" }, "Stretches of video that curation left out, by the time of the video. "
      + "Videos that could not be used at all are counted on the page of sources."),
  ];
  if (!found.sums.length) return { nodes: [...start, missing("Nothing was dropped.")] };
  return {
    nodes: [
      ...start,
      table(["source", "reason", { text: "stretches", number: true }, { text: "hours", number: true }],
        found.sums.map((each) => [each.source, each.reason, each.seconds_count, each.seconds_sum / 3600]),
        "sums of what was dropped"),
      h("form", { class: "fields", on: { submit: (event) => event.preventDefault() } },
        labeled("source", select([["", "all"], ...facts.sources.map((each) => each.source)], source,
          (value) => go({ source: value }))),
        labeled("reason", select([["", "all"], ...reasons], reason, (value) => go({ reason: value })))),
      table(["source", "video", { text: "from (s)", number: true }, { text: "to (s)", number: true }, "reason"],
        found.rows.map((each) => [each.source, h("a", { href: address(["corpora", corpus, "clips"],
          { search: each.video }) }, each.video), each.start_s, each.end_s, each.reason]), "dropped stretches"),
      pager(found, (to) => go({ offset: to })),
    ],
  };
}

/** Return the buttons between pages of {offset, page, total}. */
export function pager(found, go) {
  const last = Math.min(found.total, found.offset + found.page);
  const button = (text, to, isOff) =>
    h("button", { type: "button", disabled: isOff, on: { click: () => go(to) } }, text);
  return h("p", { class: "pager" },
    button("Previous", Math.max(0, found.offset - found.page), found.offset === 0),
    h("span", {}, found.total ? `${short(found.offset + 1)} to ${short(last)} of ${short(found.total)}` : "none"),
    button("Next", found.offset + found.page, last >= found.total));
}
