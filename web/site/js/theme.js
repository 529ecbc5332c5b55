// Dark or light: as the system says, or as chosen on the page and kept in this browser.

import { palette } from "./colour.js";

const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = [];

/** "dark" or "light". */
export function currentTheme() {
  return document.documentElement.dataset.theme || (system.matches ? "dark" : "light");
}

/** Calls `action` whenever colours change. */
export function whenThemeChanges(action) {
  listeners.push(action);
}

/** Gives the colours of the scale to the style sheets, as `--e0` and on. */
function changed() {
  palette(currentTheme()).forEach((colour, step) => {
    document.documentElement.style.setProperty(`--e${step}`, colour);
  });
  for (const action of listeners) action();
}

// A browser may keep nothing for a page; then the choice lasts as long as the page does.
function kept() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

function keep(theme) {
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // See above.
  }
}

/** Wires the choice of the theme, a `select`. */
export function startTheme(select) {
  const choose = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    changed();
  };
  select.value = ["light", "dark"].includes(kept()) ? kept() : "";
  select.addEventListener("change", () => {
    keep(select.value);
    choose(select.value);
  });
  system.addEventListener("change", changed);
  choose(select.value);
}
