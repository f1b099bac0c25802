// The clips of a corpus: search, filters, order, pages.

import { address, get, place, settled } from "./api.js";
import { clock, h, labeled, missing, redraw, select, short } from "./dom.js";
import { pager, tabs } from "./corpus.js";

const SHOWN = ["source", "domain", "procedure", "case", "video", "split", "start_s", "duration_s",
  "blur", "brightness", "motion", "model_score", "duplicate_group", "cluster_1"];
const OF_TEXT = ["is", "is not", "contains", "is empty"];
const OF_NUMBERS = ["at least", "at most", "is", "is not", "is empty"];

export async function open(corpus, query, facts) {
  const kinds = new Map(facts.columns.map((each) => [each.name, each]));
  const state = read(query);
  const results = h("div", { "aria-live": "polite" });
  const filters = h("div", { class: "filters" });
  let latest = 0;

  const refresh = async () => {
    const current = ++latest;
    try {
      const found = await get(`/api/corpora/${corpus}/clips`, { ...words(state), offset: state.offset });
      if (current === latest) redraw(results, list(found));
    } catch (error) {
      if (current === latest) results.replaceChildren(missing(error.message));
    }
  };

  // The address follows the fields, so that a page can be kept and reopened.
  const change = (values) => {
    Object.assign(state, { offset: 0 }, values);
    const to = address(["corpora", corpus, "clips"], { ...words(state), offset: state.offset || "" });
    if (place().parts[2] === "clips") history.replaceState(null, "", to);
    refresh();
  };

  const drawFilters = () => redraw(filters, [
    ...state.filters.map((each, index) => filterRow(each, kinds, facts.columns,
      (values) => change({ filters: state.filters.with(index, values) }),
      () => {
        change({ filters: state.filters.toSpliced(index, 1) });
        drawFilters();
      }, drawFilters, () => state.filters[index])),
    h("button", { type: "button", on: { click: () => {
      state.filters = [...state.filters, { column: "source", comparison: "is", value: "" }];
      drawFilters();
      filters.querySelector(".filter:last-of-type select")?.focus();
    } } }, "Add a filter")]);

  const list = (found) => {
    const columns = SHOWN.filter((name) => kinds.has(name) && !isBlank(kinds.get(name)));
    const indices = columns.map((name) => facts.columns.findIndex((each) => each.name === name));
    const keyIndex = facts.columns.findIndex((each) => each.name === "key");
    const sortBy = (name) => change({ sort: name, descending: state.sort === name && !state.descending });
    const header = (name) => h("th", {
      scope: "col", class: kinds.get(name).kind === "number" ? "number" : null,
      "aria-sort": state.sort === name ? (state.descending ? "descending" : "ascending") : null,
    }, h("button", { type: "button", class: "sort", on: { click: () => sortBy(name) } }, name,
      state.sort === name ? (state.descending ? " ↓" : " ↑") : ""));
    const cell = (row, name, index) => h("td", { class: kinds.get(name).kind === "number" ? "number" : null },
      name === "start_s" ? clock(row[index]) : kinds.get(name).kind === "number" ? short(row[index]) : row[index]);
    return [
      h("p", { id: "found" }, h("strong", {}, `${short(found.total)} clips`),
        `, ${short(found.hours)} hours, ${short(found.videos)} videos, ${short(found.cases)} cases`),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "clips" }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "clip"), columns.map(header))),
        h("tbody", {}, found.rows.map((row, place) => h("tr", {},
          h("td", {}, h("a", { href: `#/corpora/${corpus}/clips/${found.numbers[place]}`, title: row[keyIndex] },
            short(found.numbers[place]))),
          columns.map((name, index) => cell(row, name, indices[index]))))))),
      pager(found, (offset) => change({ offset })),
    ];
  };

  const typed = settled((search) => change({ search }));
  const search = h("input", { type: "search", id: "search", value: state.search,
    placeholder: "key, video, case, domain, procedure", on: { input: () => typed(search.value) } });
  drawFilters();
  await refresh();
  return {
    nodes: [
      h("h1", {}, facts.address),
      tabs(corpus, "clips"),
      h("form", { class: "fields", on: { submit: (event) => event.preventDefault() } }, labeled("search", search)),
      filters,
      results,
    ],
  };
}

/** Return whether a column says nothing: empty texts alone. */
const isBlank = ({ name, kind, values }) => kind === "text" && !values.length && ["domain", "procedure"].includes(name);

/** Return the fields of a filter. */
function filterRow(filter, kinds, columns, change, remove, redraw, current) {
  const column = kinds.get(filter.column);
  const comparisons = column?.kind === "number" ? OF_NUMBERS : OF_TEXT;
  const set = (values) => {
    const next = { ...current(), ...values };
    if (next.comparison === "is empty" || next.value !== "" || filter.value !== "") change(next);
    else Object.assign(current(), next);
  };
  const typed = settled((value) => set({ value }));
  const hasList = column?.values.length && ["is", "is not"].includes(filter.comparison);
  const value = hasList
    ? select([["", "choose"], ...column.values], filter.value, (chosen) => set({ value: chosen }), { "aria-label": "value" })
    : h("input", { value: filter.value, type: column?.kind === "number" ? "number" : "text", step: "any",
      "aria-label": "value", on: { input: () => typed(value.value) },
      placeholder: column?.kind === "number" ? `${short(column.least)} to ${short(column.most)}` : "" });
  return h("div", { class: "filter" },
    select(columns.map((each) => each.name), filter.column, (name) => {
      Object.assign(current(), { column: name, value: "",
        comparison: kinds.get(name).kind === "number" ? "at least" : "is" });
      redraw();
    }, { "aria-label": "column" }),
    select(comparisons, filter.comparison, (comparison) => {
      set({ comparison });
      redraw();
    }, { "aria-label": "comparison" }),
    filter.comparison !== "is empty" && value,
    h("button", { type: "button", on: { click: remove } }, "Remove"));
}

function read(query) {
  let filters = [];
  try {
    filters = JSON.parse(query.get("filters") ?? "[]");
  } catch {
    // A cut address: show all clips.
  }
  return {
    search: query.get("search") ?? "", filters, sort: query.get("sort") ?? "",
    descending: query.get("descending") === "true", offset: Number(query.get("offset") ?? 0),
  };
}

function words(state) {
  const full = state.filters.filter((each) => each.value !== "" || each.comparison === "is empty");
  return {
    search: state.search, filters: full.length ? JSON.stringify(full) : "", sort: state.sort,
    descending: state.descending ? "true" : "",
  };
}
