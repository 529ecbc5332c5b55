// The page: state from the link, the panels, the engine, and a model that was kept.

import { showCard } from "./cards.js";
import { FULL_NATS, stepOf } from "./colour.js";
import { ContinuePanel } from "./continue.js";
import { CutPanel } from "./cut.js";
import { cutsOf } from "./cuts.js";
import { fill, make } from "./dom.js";
import { isKept, startFacts } from "./facts.js";
import { paused } from "./latest.js";
import { MeasurePanel } from "./measure.js";
import { MODEL_URL, session } from "./session.js";
import { defaults, LONGEST_TEXT, read, TABS, write } from "./state.js";
import { startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";
import { TrainPanel } from "./train.js";

// What it says of itself is so with the small model.
const SAMPLE = `The first letters of a word are hard to guess, and the rest follows: the \
temperature, the government of the United States, Constantinople, the Mississippi. An invented \
name never becomes easy: Zmirtebon, Vexlorqua. Nor do digits, as in 3.14159265358979, or letters \
that English seldom has, as in Ångström, where one letter is two bytes.`;

const sample = new TextEncoder().encode(SAMPLE);
const { state, text } = read(location.hash);

startTheme(document.getElementById("theme"));
startFacts(document.getElementById("facts"));

/** Puts the state into the address, without a step in the history. */
function setAddress() {
  const { bytes } = panels.cut;
  const isSample = bytes.length === sample.length && bytes.every((byte, i) => byte === sample[i]);
  const link = write(state, isSample ? null : bytes);
  history.replaceState(null, "", link || location.pathname + location.search);
}

const keepLink = paused(setAddress, 300);

// In the sample, where many words are possible still.
const firstLook = text === null ? SAMPLE.indexOf("emperature") : text.length;

const panel = (name) => document.getElementById(`panel-${name}`);
const panels = {
  cut: new CutPanel(panel("cut"), state, text ?? sample, firstLook, keepLink),
  continue: new ContinuePanel(panel("continue"), state, keepLink, (bytes) => {
    panels.cut.replaceText(bytes.slice());
    openTab("cut");
  }),
  train: new TrainPanel(panel("train"), () => panels.cut.bytes),
  measure: new MeasurePanel(panel("measure")),
};

const openTab = startTabs(TABS.includes(state.tab) ? state.tab : defaults().tab, (name) => {
  state.tab = name;
  keepLink();
});

/** The sentence at the top is cut by the model that is there, like any other text. */
async function cutHeadline() {
  const headline = document.getElementById("headline");
  const words = headline.textContent;
  const bytes = new TextEncoder().encode(words);
  const { entropies, starts } = cutsOf(await session.blt.patches(bytes), bytes.length);
  const byteSpan = (at) => {
    const step = stepOf(entropies[at]);
    const share = entropies.length > 0 ? Math.min(1, entropies[at] / FULL_NATS) : 0;
    const style = `--bar:var(--e${step});--share:${share.toFixed(3)}`;
    return make("span", { class: "byte", style }, words[at]);
  };
  headline.setAttribute("aria-label", words);
  fill(headline, ...Array.from(starts, (start, i) => {
    const end = starts[i + 1] ?? words.length;
    const letters = Array.from({ length: end - start }, (_, k) => byteSpan(start + k));
    return make("span", { class: "patch" }, ...letters);
  }));
}

document.getElementById("link").addEventListener("click", async () => {
  setAddress();
  const isLong = panels.cut.bytes.length > LONGEST_TEXT;
  try {
    await navigator.clipboard.writeText(location.href);
    const held = isLong
      ? `It holds the settings, and not the text: that is longer than ${LONGEST_TEXT} bytes.`
      : "It holds the text and the settings. They stand behind the #, which no server sees.";
    showCard("link", { title: "The link is copied", text: held, isNote: true });
  } catch {
    showCard("link", { title: "The browser did not let the page copy", isNote: true,
      text: "The address of this page is the link." });
  }
});

document.querySelector(".skip").addEventListener("click", (event) => {
  // The address holds the state, so the page moves without it.
  event.preventDefault();
  document.getElementById("panels").focus();
});

// Another link in the address bar is another page.
addEventListener("hashchange", () => location.reload());

session.on("device", () => {
  state.engine = session.engine;
  keepLink();
});

session.on("model", () => {
  // Without its underlines the sentence says the same: no card if it cannot be cut.
  if (session.model) cutHeadline().catch(() => {});
});

if (await session.open(state.engine) && await isKept()) await session.load(MODEL_URL);
