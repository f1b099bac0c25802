// Which page is shown.

import { get, place } from "./api.js";
import { h, missing, redraw, table } from "./dom.js";

const PAGES = {
  corpora: () => import("./corpus.js"),
  mixture: () => import("./mixture.js"),
  runs: () => import("./runs.js"),
  evaluations: () => import("./evaluation.js"),
};

const page = document.getElementById("page");
let subjects = null;
let leave = null; // ends the timers of the page that is shown
let visit = 0;
let kind = null; // of the page that is shown: its address without numbers and query

/** Show the page of the address bar. A page returns its nodes and what ends it. */
async function show() {
  const current = ++visit;
  leave?.();
  leave = null;
  const { parts, query } = place();
  let shown;
  try {
    subjects ??= await get("/api/subjects");
    const module = PAGES[parts[0]] ? await PAGES[parts[0]]() : null;
    shown = module ? await module.open(parts.slice(1), query, subjects) : { nodes: overview() };
  } catch (error) {
    shown = { nodes: [h("h1", {}, "This page cannot be shown"), missing(error.message)] };
  }
  if (current !== visit) {
    shown.leave?.();
    return;
  }
  leave = shown.leave ?? null;
  put(parts.join("/").replace(/\d+/g, "0"), shown.nodes);
  document.title = `${page.querySelector("h1")?.textContent ?? "SurgRec"} - SurgRec`;
  navigation(parts[0]);
}

/** Show nodes. From one clip to the next, the keyboard stays where it is; on another page it begins anew. */
function put(newKind, nodes) {
  const isFirst = kind === null;
  if (newKind === kind) {
    redraw(page, nodes);
    return;
  }
  kind = newKind;
  page.replaceChildren(...nodes);
  scrollTo(0, 0);
  if (!isFirst) page.focus({ preventScroll: true });
}

function navigation(open) {
  const links = [["", "Overview"]];
  if (subjects?.corpora.length) links.push(["mixture", "Mixture"]);
  if (subjects?.runs.length) links.push(["runs", "Runs"]);
  if (subjects?.evaluations.length) links.push(["evaluations", "Evaluations"]);
  document.getElementById("nav").replaceChildren(
    ...links.map(([path, text]) =>
      h("a", { href: `#/${path}`, "aria-current": (open ?? "") === path ? "page" : null }, text)));
}

function overview() {
  const { corpora, runs, evaluations } = subjects;
  return [
    h("h1", {}, "Open corpora, runs and evaluations"),
    h("p", { class: "note" }, "Nothing here changes a file."),
    corpora.length > 0 && h("section", {}, h("h2", {}, "Corpora"),
      table(["corpus", ...["sources", "videos", "clips", "hours"].map((text) => ({ text, number: true }))],
        corpora.map((each, number) => [
          h("a", { href: `#/corpora/${number}` }, each.address),
          each.sources, each.videos, each.clips, each.hours,
        ]), "corpora"),
      h("p", {}, h("a", { href: "#/mixture" }, "Try mixtures of these sources"))),
    runs.length > 0 && h("section", {}, h("h2", {}, "Runs"),
      h("ul", {}, runs.map((each) => h("li", {}, each.address))),
      h("p", {}, h("a", { href: "#/runs" }, "Look at their curves"))),
    evaluations.length > 0 && h("section", {}, h("h2", {}, "Evaluations"),
      h("ul", {}, evaluations.map((each, number) =>
        h("li", {}, h("a", { href: `#/evaluations/${number}` }, each.address))))),
  ].filter(Boolean);
}

// The token of the first visit is in the cookie now: keep it out of the history.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
addEventListener("hashchange", show);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  page.focus();
});
show();
