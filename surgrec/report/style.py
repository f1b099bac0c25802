"""How the page looks: one column of dark text on light, figures in tabular numerals, nothing that moves."""

STYLE = """
:root { --ink: #1d2530; --gray: #586374; --line: #dde3ea; --blue: #2563ab; --paper: #fff }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink); background: #f7f9fb; margin: 0 }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 64px }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px }
h2 { font-size: 20px; margin: 0 0 6px }
h3 { font-size: 15px; margin: 26px 0 4px }
h4 { font-size: 14px; margin: 18px 0 0; color: var(--gray) }
section { border-top: 1px solid var(--line); margin-top: 36px; padding-top: 22px }
p { margin: 6px 0; max-width: 90ch }
.note { color: var(--gray); margin: 2px 0 10px }
.missing { border-left: 3px solid #c8702a; background: #fdf6ef; padding: 6px 12px }
code, pre { font: 12.5px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: 6px; padding: 12px; overflow: auto }
.scroll { overflow-x: auto; margin: 8px 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px }
th, td { padding: 4px 16px 4px 0; text-align: left; vertical-align: baseline; white-space: nowrap }
th.number, td.number { text-align: right }
th:last-child, td:last-child { padding-right: 0 }
thead th { border-bottom: 1px solid #b9c3cf; font-weight: 600 }
tbody tr + tr td { border-top: 1px solid #e9edf2 }
td em { font-style: normal; font-size: 12px; color: #a63d57; margin-left: 8px }
td small { color: var(--gray); font-size: 12px; margin-left: 4px }
.columns { display: flex; flex-wrap: wrap; gap: 8px 48px; align-items: flex-start }
.columns > div { min-width: 0 }
figure { margin: 0; min-width: 0 }
figcaption { color: var(--gray); font-size: 13px; margin: 0 0 4px }
.charts { display: grid; gap: 18px; align-items: start }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)) }
.chart { margin: 4px 0 }
.chart svg { display: block; width: 100% }
.chart svg, .verdicts li { background: var(--paper); border: 1px solid var(--line); border-radius: 6px }
svg text { font: 11px system-ui, sans-serif; fill: var(--gray) }
svg .title { font-weight: 600; font-size: 12.5px; fill: var(--ink) }
svg .name { font-size: 12px; fill: var(--ink) }
svg .group { font-size: 12px; font-weight: 600; fill: var(--ink) }
svg .grid { stroke: #e9edf2 }
svg .mark { stroke: #a63d57; stroke-dasharray: 4 3; stroke-opacity: .6 }
svg .target { stroke: var(--ink); stroke-width: 2 }
.verdicts { list-style: none; margin: 10px 0 18px; padding: 0; display: grid; gap: 8px }
.verdicts li { border-left: 5px solid #8b95a3; padding: 8px 14px }
.verdicts .better { border-left-color: #2f8f5b }
.verdicts .worse { border-left-color: #a63d57 }
.sheets { display: grid; gap: 12px; margin-top: 14px }
.sheets img { width: 100%; border-radius: 4px; display: block }
.bar { display: flex; height: 14px; max-width: 560px; border-radius: 4px; overflow: hidden }
.legend { margin: 4px 0 12px; font-size: 13px; color: var(--gray) }
.legend span { margin-right: 18px }
.legend i { display: inline-block; width: 10px; height: 10px; margin-right: 6px; border-radius: 2px }
i.wait { background: #c8702a }
i.work { background: #a9c0da }
details { margin-top: 16px }
summary { cursor: pointer; font-weight: 600; color: var(--blue) }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 520px), 1fr)); gap: 22px 28px; margin-top: 12px }
.clips + .note { margin-top: 28px }
.strip { display: grid; gap: 3px; align-items: center; font-size: 13px }
.strip { grid-template-columns: 6.5em repeat(var(--moments), minmax(0, 1fr)) }
.strip span { overflow-wrap: anywhere }
.strip img { width: 100%; display: block; border-radius: 2px }
@media (max-width: 1000px) {
  th { white-space: normal }
  th, td { padding-right: 12px }
  td small, td em { display: block; margin: 0 }
}
.pixelated { image-rendering: pixelated }
"""
