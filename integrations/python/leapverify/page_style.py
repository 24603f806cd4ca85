"""How a report looks: one style sheet, light, without fonts or files from elsewhere."""

STYLE = """
:root { --ink: #1d2330; --muted: #5f6875; --line: #e1e4e9; --soft: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 40px 32px 64px; max-width: 1120px; color: var(--ink);
  background: #fff; font: 15px/1.5 "Helvetica Neue", Helvetica, Arial, "Liberation Sans",
  system-ui, sans-serif; }
h1 { margin: 0 0 4px; font-size: 27px; line-height: 1.25; font-weight: 650;
  letter-spacing: -0.01em; }
h2 { margin: 52px 0 6px; font-size: 19px; font-weight: 650; }
h3 { margin: 26px 0 8px; font-size: 15px; font-weight: 650; }
p { margin: 6px 0; max-width: 76ch; }
.muted, .note { color: var(--muted); }
.note { font-size: 13.5px; max-width: 100ch; }
.lead { font-size: 17px; margin-top: 10px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 22px 0 8px; }
.tile { flex: 1 1 170px; padding: 12px 16px 11px; border-top: 3px solid var(--ink);
  background: var(--soft); }
.tile b { display: block; font-size: 25px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
.tile span { color: var(--muted); font-size: 13.5px; }
figure { margin: 16px 0 6px; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 5px 18px 5px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 400; color: var(--muted); }
thead th { font-weight: 600; color: var(--ink); border-bottom: 1.5px solid var(--ink); }
td.number, th.number { text-align: right; }
td.lines { white-space: pre; }
th { white-space: nowrap; }
.levels td, .levels thead th:nth-child(2) { text-align: right; }
.levels thead tr:first-child th { border-bottom: 0; padding-bottom: 0; }
.levels thead tr:last-child th { font-weight: 400; color: var(--muted); text-align: right; }
.levels td:nth-child(3n), .levels thead th[colspan] { padding-left: 18px; }
.levels thead th[colspan] { text-align: right; padding-right: 18px; }
table.leaps, table.looks { font-size: 13px; }
.leaps th, .leaps td, .looks th, .looks td { padding-right: 14px; }
.key { width: 30px; height: 10px; margin-right: 7px; }
details { margin: 10px 0; }
summary { cursor: pointer; font-weight: 600; }
code { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media print { body { padding: 0; max-width: none; font-size: 12px; }
  figure, .tiles, tr { break-inside: avoid; } }
"""
