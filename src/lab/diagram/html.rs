//! A picture as one HTML file that needs nothing else: it is stepped through, or played, with the keyboard.

use super::Picture;
use super::svg::{body, escaped, size, style};

const PAGE_STYLE: &str = "body{margin:0;font:16px/1.45 system-ui,sans-serif;color:#1b1b1b;background:#fff}header{\
    position:sticky;top:0;background:#fff;border-bottom:1px solid #ccc;padding:.6rem 1rem}h1{font-size:1.1rem;margin:0 \
    0 .4rem}main{padding:0 1rem}button{font:inherit;padding:.15rem .7rem;margin-right:.3rem}button:focus-visible,\
    input:focus-visible{outline:3px solid #1f5fa8}#said{min-height:1.5em;margin:.4rem 0 0}.later{visibility:hidden}\
    .now text{font-weight:600}kbd{border:1px solid #999;border-radius:3px;padding:0 .3em;font-size:.85em}input{\
    vertical-align:middle;width:16rem}@media print{header{position:static}.controls{display:none}.later{\
    visibility:visible}}";

const SCRIPT: &str = r#"
const rows = [...document.querySelectorAll("g.r")];
const said = document.getElementById("said");
const slider = document.getElementById("at");
const play = document.getElementById("play");
let at = 0;
let timer = null;
slider.max = rows.length;

function show(step, scroll) {
  at = Math.max(0, Math.min(rows.length, step));
  rows.forEach((row, index) => {
    row.classList.toggle("later", index >= at);
    row.classList.toggle("now", index === at - 1);
  });
  slider.value = at;
  const text = at ? rows[at - 1].dataset.text : "Nothing has happened yet.";
  said.textContent = at + " of " + rows.length + ": " + text;
  if (scroll && at) rows[at - 1].scrollIntoView({ block: "center" });
  if (at === rows.length) stop();
}

function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = "Play";
}

function toggle() {
  if (timer) return stop();
  if (at === rows.length) show(0, true);
  timer = setInterval(() => show(at + 1, true), 900);
  play.textContent = "Pause";
}

function step(by) {
  stop();
  show(at + by, true);
}

const keys = {
  ArrowRight: () => step(1), ArrowDown: () => step(1), ArrowLeft: () => step(-1), ArrowUp: () => step(-1),
  Home: () => step(-rows.length), End: () => step(rows.length), " ": toggle,
};
document.addEventListener("keydown", (event) => {
  const act = keys[event.key];
  const own = event.target === slider || (event.target.tagName === "BUTTON" && event.key === " ");
  if (!act || own || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
document.getElementById("back").addEventListener("click", () => step(-1));
document.getElementById("next").addEventListener("click", () => step(1));
play.addEventListener("click", toggle);
slider.addEventListener("input", () => { stop(); show(Number(slider.value), true); });
show(rows.length, false);
"#;

/// Draws a picture as a page with this title.
#[must_use]
pub fn draw(picture: &Picture, title: &str) -> String {
    let (width, height) = size(picture);
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<style>{PAGE_STYLE}{}</style></head>\n<body><header><h1>{title}</h1>\n\
         <div class=\"controls\"><button id=\"back\">Back</button><button id=\"next\">Next</button>\
         <button id=\"play\">Play</button> <label>Step <input id=\"at\" type=\"range\" min=\"0\" value=\"0\"></label> \
         <kbd>→</kbd> <kbd>←</kbd> step, <kbd>space</kbd> plays, <kbd>Home</kbd> <kbd>End</kbd></div>\n\
         <p id=\"said\" role=\"status\" aria-live=\"polite\"></p></header>\n<main><svg width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"A space-time diagram\">\n{}</svg></main>\n\
         <script>{SCRIPT}</script></body></html>\n",
        style(),
        body(picture)
    )
}
