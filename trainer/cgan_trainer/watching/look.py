"""How the page looks, and the few lines of script that move its slider and copy its commands."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root{color-scheme:light dark;--paper:#fbfbf9;--card:#fff;--ink:#1d232b;--quiet:#59626e;--rule:#dfe1e0;
--accent:#0b62a8;--done:#17663a;--done-paper:#e1f2e7;--open:#7a4a00;--open-paper:#fbeed6;
--c0:#0b62a8;--c1:#bf4a00;--c2:#00785a;--c3:#8a4a9e}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1b1f25;--ink:#e8eaed;--quiet:#a4adb8;
--rule:#333a43;--accent:#79b8f2;--done:#8fdcae;--done-paper:#163322;--open:#f2c67c;--open-paper:#3a2c10;
--c0:#6fb3f0;--c1:#f19a5b;--c2:#4cc9a0;--c3:#cf9be0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:40px 24px 80px}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.kicker{margin:0;color:var(--quiet);font-size:.9rem}
h1{margin:0 0 14px;font-size:2.1rem;line-height:1.2;letter-spacing:-.015em;overflow-wrap:anywhere}
.status{display:inline-block;vertical-align:.32em;margin-left:.4em;padding:.15em .75em;border-radius:99px;
font-size:.85rem;font-weight:600;letter-spacing:0;white-space:nowrap}
.done{color:var(--done);background:var(--done-paper)}
.open{color:var(--open);background:var(--open-paper)}
.bar{height:6px;border-radius:3px;background:var(--rule);overflow:hidden}
.bar i{display:block;height:100%;background:var(--accent)}
.keys{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:16px 24px;margin:20px 0 0}
.keys dt{color:var(--quiet);font-size:.85rem}
.keys dd{margin:0;font-size:1.45rem;font-weight:600;line-height:1.3}
.keys small{display:block;color:var(--quiet);font-size:.85rem;font-weight:400}
.problem{margin:18px 0 0;padding:10px 14px;border-radius:8px;color:var(--open);background:var(--open-paper)}
section{margin-top:52px}
h2{margin:0 0 4px;font-size:1.3rem;letter-spacing:-.01em}
h3{margin:20px 0 6px;font-size:1rem}
.quiet{margin:0 0 14px;color:var(--quiet);max-width:90ch}
.columns{display:grid;grid-template-columns:repeat(5,1fr);margin-bottom:6px;color:var(--quiet);font-size:.85rem;
text-align:center}
.frames{display:flex;overflow-x:auto;scroll-snap-type:x mandatory;border-radius:8px}
.frames figure{flex:0 0 100%;margin:0;scroll-snap-align:start}
.frames img{display:block;width:100%;height:auto;border-radius:8px;background:var(--rule)}
.frames figcaption{padding-top:8px;color:var(--quiet);font-size:.9rem}
.js .frames{overflow:visible}
.js .frames figure{display:none}
.js .frames figure.shown{display:block}
.slide{display:none}
.js .slide{display:flex;align-items:center;gap:12px;margin:10px 0 0;color:var(--quiet);font-size:.9rem}
.slide input{flex:1;min-width:0;height:28px;accent-color:var(--accent)}
.strip{position:relative;display:flex;gap:8px;margin-top:12px;padding:3px 3px 8px;overflow-x:auto}
.strip a{flex:1 1 0;min-width:64px;max-width:112px;color:var(--quiet);font-size:.8rem;text-align:center;
text-decoration:none}
.strip img{display:block;width:100%;height:auto;margin-bottom:2px;border-radius:6px;border:2px solid transparent}
.strip [aria-current] img{border-color:var(--accent)}
.strip [aria-current]{color:var(--ink);font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:20px;margin-top:14px}
.chart{margin:0;padding:16px 18px 12px;border:1px solid var(--rule);border-radius:10px;background:var(--card)}
.chart figcaption{font-weight:600}
.chart svg{display:block;width:100%;height:auto;margin-top:6px;overflow:visible}
.chart .hint{margin:4px 0 0;color:var(--quiet);font-size:.85rem}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;margin:2px 0 0;padding:0;list-style:none;color:var(--quiet);
font-size:.88rem}
.legend b{color:var(--ink)}
.swatch{display:inline-block;width:16px;height:3px;margin-right:7px;border-radius:2px;vertical-align:.25em}
.swatch.s0{background:var(--c0)}.swatch.s1{background:var(--c1)}
.swatch.s2{background:var(--c2)}.swatch.s3{background:var(--c3)}
svg text{fill:var(--quiet);font-size:12.5px}
svg .grid{stroke:var(--rule);stroke-width:1}
svg polyline{fill:none;stroke-linejoin:round;stroke-linecap:round}
svg .line{stroke-width:2}
svg .raw{stroke-width:1;opacity:.38}
svg .faint{opacity:.38}
polyline.s0{stroke:var(--c0)}polyline.s1{stroke:var(--c1)}polyline.s2{stroke:var(--c2)}polyline.s3{stroke:var(--c3)}
circle.s0{fill:var(--c0)}circle.s1{fill:var(--c1)}circle.s2{fill:var(--c2)}circle.s3{fill:var(--c3)}
details{margin-top:16px}
summary{cursor:pointer;color:var(--accent)}
.scroll{margin:10px 0;overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem}
th,td{padding:6px 22px 6px 0;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}
th+td,td+td,th+th{text-align:right;padding:6px 0 6px 22px}
thead th{vertical-align:bottom;color:var(--quiet);font-weight:400}
tbody th{font-weight:500}
td{overflow-wrap:break-word}
.commands{margin:10px 0 0;padding:0;list-style:none}
.commands li{margin-bottom:14px}
.commands p{margin:0;color:var(--quiet);font-size:.9rem}
pre{display:flex;align-items:flex-start;gap:12px;margin:4px 0 0;padding:10px 14px;border:1px solid var(--rule);
border-radius:8px;background:var(--card);font-size:.9rem;line-height:1.5}
code{flex:1;min-width:0;font-family:ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;
white-space:pre-wrap;overflow-wrap:anywhere;user-select:all}
code span{display:inline-block;max-width:100%}
button{flex:none;padding:2px 12px;border:1px solid var(--rule);border-radius:6px;background:var(--paper);
color:var(--ink);font:inherit;cursor:pointer}
@media (max-width:560px){main{padding:24px 16px 56px}h1{font-size:1.65rem}section{margin-top:40px}
.columns{font-size:.72rem}.keys{grid-template-columns:1fr 1fr}.chart{padding:12px 12px 10px}
svg text{font-size:15px}th,td{padding-right:14px}}
@media print{.frames{overflow:visible}.slide,.strip,button{display:none!important}}
"""

SCRIPT = """
"use strict";
document.documentElement.classList.add("js");
const large = [...document.querySelectorAll(".frames figure")].reverse();
const small = [...document.querySelectorAll(".strip a")];
const slider = document.querySelector(".slide input");
function show(number) {
  large.forEach((figure, place) => figure.classList.toggle("shown", place === number));
  small.forEach((link, place) => {
    if (place === number) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  });
  if (slider) {
    slider.value = number;
    slider.setAttribute("aria-valuetext", small[number].textContent + " images");
    small[number].parentElement.scrollLeft = small[number].offsetLeft - 120;
  }
}
if (slider) slider.addEventListener("input", () => show(Number(slider.value)));
small.forEach((link, number) => link.addEventListener("click", event => { event.preventDefault(); show(number); }));
if (large.length) show(large.length - 1);
for (const block of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {
      getSelection().selectAllChildren(code);
    }
  });
  block.append(button);
}
"""
