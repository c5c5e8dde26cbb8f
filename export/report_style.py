"""The parity report's page frame and style sheet, as text.

The page's content policy forbids every network access, so a report that needed any would show it.
"""

from __future__ import annotations

from string import Template

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")

STYLE = """\
:root {
  --ground: #f6f7f9; --card: #ffffff; --ink: #1b2430; --muted: #5a6675; --rule: #e0e4ea;
  --good: #11723f; --good-ground: #e2f4e9; --bad: #b3261e; --bad-ground: #fce8e6;
  --warn: #7a5200; --warn-ground: #fff3d6; --accent: #2a6fdb;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #12161c; --card: #1b212a; --ink: #e6eaf0; --muted: #9aa6b5; --rule: #2e3743;
    --good: #6fd89b; --good-ground: #15321f; --bad: #ff9a90; --bad-ground: #401a18;
    --warn: #f4c869; --warn-ground: #3a2d0c; --accent: #7fb0ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 4px 0 10px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 10px; }
.kicker {
  color: var(--muted); text-transform: uppercase; letter-spacing: .08em; font-size: 12px;
  margin: 0;
}
.muted { color: var(--muted); }
.versus { color: var(--muted); font-weight: 400; }
.badge {
  display: inline-block; border-radius: 999px; padding: 2px 12px; font-weight: 650;
  font-size: 13px; white-space: nowrap;
}
.good { color: var(--good); background: var(--good-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.notice {
  border-radius: 8px; padding: 10px 14px; margin: 12px 0; color: var(--warn);
  background: var(--warn-ground);
}
.lead { display: flex; gap: 12px; align-items: baseline; flex-wrap: wrap; }
.lead p { margin: 0; flex: 1 1 320px; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 24px 0 0; padding: 0;
}
.tile, .card {
  background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
}
.tile { padding: 12px 16px; }
.tile dt { color: var(--muted); font-size: 13px; }
.tile dd { margin: 2px 0 0; font-size: 22px; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile small { display: block; color: var(--muted); font-size: 12px; font-weight: 400; }
.card { padding: 16px; margin: 0 0 16px; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--rule); }
tr:last-child > * { border-bottom: 0; }
thead th { color: var(--muted); font-weight: 550; font-size: 13px; white-space: nowrap; }
tbody th { font-weight: 500; }
th small {
  display: block; overflow-wrap: anywhere; color: var(--muted); font-size: 12px; font-weight: 400;
}
th.number, td.number { text-align: right; white-space: nowrap; }
td.number:last-child, th.number:last-child { padding-right: 4px; }
table.facts { table-layout: fixed; min-width: 560px; }
table.facts th:first-child { width: 130px; }
table.facts td, table.facts th { vertical-align: top; overflow-wrap: anywhere; }
table.stems th { font-weight: 450; }
code { font: 12.5px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.head {
  display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: baseline; margin: 0 0 12px;
  justify-content: space-between;
}
.head ul {
  display: flex; flex-wrap: wrap; gap: 0 16px; list-style: none; margin: 0; padding: 0;
  color: var(--muted); font-size: 13px; font-variant-numeric: tabular-nums;
}
.head b { color: var(--ink); font-weight: 600; }
.head b.off { color: var(--bad); }
.pictures { display: grid; gap: 12px; grid-template-columns: repeat(var(--count), 1fr); }
figure { margin: 0; min-width: 0; position: relative; }
figure img { display: block; width: 100%; height: auto; border-radius: 8px; background: #000; }
figcaption { font-size: 13px; color: var(--muted); margin-top: 6px; line-height: 1.35; }
.open { cursor: zoom-in; display: block; border-radius: 8px; }
a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.close { display: none; }
figure:target {
  position: fixed; inset: 0; z-index: 9; background: rgb(8 10 14 / .95); display: grid;
  place-content: center; justify-items: center; padding: 16px;
}
figure:target img { width: min(94vw, calc(82vh * var(--aspect))); border-radius: 4px; }
figure:target figcaption { color: #d5dbe4; font-size: 15px; }
figure:target .close {
  display: block; position: absolute; inset: 0; cursor: zoom-out; color: #fff;
  text-decoration: none; text-align: right; font-size: 30px; line-height: 1; padding: 16px 20px;
}
.scale {
  display: block; height: 8px; border-radius: 4px; margin: 5px 0 2px;
  background: linear-gradient(90deg, #000, #a00 25%, #f00 38%, #ff0 76%, #fff);
  border: 1px solid var(--rule);
}
.ends { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 4px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--muted); font-size: 13px; }
.errors { display: grid; grid-template-columns: minmax(0, 2fr) minmax(240px, 1fr); gap: 8px 32px; }
.spectrum { grid-template-columns: minmax(0, 1fr) max-content; }
.spectrum th { white-space: nowrap; }
sup { line-height: 0; font-size: .75em; }
.chart { display: block; width: 100%; max-width: 680px; height: auto; }
.chart text { fill: var(--muted); font-size: 12px; font-family: inherit; }
.chart .power { font-size: 9px; }
.chart .grid { stroke: var(--rule); }
.chart .area { fill: var(--accent); opacity: .13; }
.chart .line { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
.chart .limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 5 4; }
.chart .limit-text { fill: var(--bad); }
.chart.wide { max-width: none; }
.chart .bar { fill: var(--accent); }
.chart .corner { opacity: .45; }
.chart .own { fill: var(--ink); opacity: .55; }
.chart .suspect { fill: none; stroke: var(--bad); stroke-width: 2; }
.key.total { background: var(--accent); }
.key.own { background: var(--ink); opacity: .55; border-radius: 50%; }
.key.suspect { border: 2px solid var(--bad); border-radius: 50%; }
.key.dashes {
  width: 18px; height: 0; border-top: 2px dashed var(--bad); border-radius: 0;
  vertical-align: middle;
}
.after { margin-top: 12px; }
.flat, .card > p:last-child, .notes > :last-child { margin-bottom: 0; }
.sub { margin: 24px 0 10px; }
.culprit { border-left: 4px solid var(--bad); }
.culprit .node { margin: 2px 0 4px; font-size: 17px; overflow-wrap: anywhere; }
.culprit .node code { font-size: 15px; font-weight: 600; }
dl.facts { display: flex; flex-wrap: wrap; gap: 8px 36px; margin: 12px 0; }
dl.facts dt { color: var(--muted); font-size: 13px; }
dl.facts dd { margin: 0; font-size: 18px; font-weight: 650; font-variant-numeric: tabular-nums; }
table.nodes { min-width: 640px; }
table.nodes th:first-child { overflow-wrap: anywhere; width: 100%; }
table.nodes tr.suspect code { color: var(--bad); }
details { margin: 0 0 16px; }
summary { cursor: pointer; padding: 4px 0 10px; color: var(--accent); }
.notes ul { margin: 0; padding-left: 18px; color: var(--muted); font-size: 13px; }
footer { color: var(--muted); font-size: 13px; margin-top: 32px; }
@media (max-width: 760px) {
  main { padding: 20px 14px 40px; }
  h1 { font-size: 21px; }
  .pictures { grid-template-columns: 1fr 1fr; }
  .pictures figure:last-child:nth-child(odd):not(:target) { grid-column: 1 / -1; }
  .card { padding: 12px; }
  .errors, .spectrum { grid-template-columns: minmax(0, 1fr); }
  th, td { padding-right: 8px; }
  .badge { padding: 2px 8px; font-size: 12px; }
  .chart.wide { min-width: 640px; }
  table.nodes { min-width: 0; }
  table.nodes thead { display: none; }
  table.nodes tr { display: flex; flex-wrap: wrap; gap: 2px 14px; padding: 8px 0; }
  table.nodes tr:not(:last-child) { border-bottom: 1px solid var(--rule); }
  table.nodes th, table.nodes td { border: 0; padding: 0; }
  table.nodes th:first-child { flex: 1 0 100%; }
  table.nodes td::before { color: var(--muted); font-size: 12px; margin-right: 5px; }
  table.nodes td:nth-child(2)::before { content: "own"; }
  table.nodes td:nth-child(3)::before { content: "typical"; }
  table.nodes td:nth-child(4)::before { content: "error"; }
  table.nodes td:nth-child(5)::before { content: "of what it reads"; }
  table.nodes td:nth-child(6)::before { content: "max"; }
}
@media (max-width: 480px) {
  .chart text { font-size: 18px; }
  .chart .power { font-size: 13px; }
}
@media print {
  :root { color-scheme: light; --ground: #fff; }
  main { max-width: none; padding: 0; }
  .card, .tile { break-inside: avoid; }
  .pictures { grid-template-columns: repeat(var(--count), 1fr); gap: 8px; }
  .pictures figure:last-child:nth-child(odd):not(:target) { grid-column: auto; }
  figcaption, .head ul { font-size: 11px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
