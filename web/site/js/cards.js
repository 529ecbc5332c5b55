// What went wrong, in words, where it can be read and acted upon.

import { fill, make } from "./dom.js";

const TITLES = {
  "unsupported": "This cannot be done here",
  "input": "This cannot be asked for",
  "not-a-model": "This is not a model",
  "truncated": "The file is cut off",
  "limit": "Too large for this device",
  "out-of-memory": "Out of memory",
  "device-lost": "The GPU was lost",
  "quota": "The browser's storage is full",
  "busy": "Something else is running",
  "network": "The download failed",
  "internal": "Something went wrong",
};

const shownCards = new Map();

/**
 * Shows a card, in place of an earlier one of the same `id`. `actions` are [label, what it does];
 * each closes the card first.
 */
export function showCard(id, { title, text, hint = null, actions = [], isNote = false }) {
  hideCard(id);
  const close = () => hideCard(id);
  const buttons = actions.map(([label, run], i) =>
    make("button", {
      class: i === 0 ? "primary" : "",
      onclick: () => {
        close();
        run();
      },
    }, label));
  const card = make("section", { class: isNote ? "card note" : "card", "data-card": id },
    make("h2", {}, title),
    make("p", {}, ...withCode(text)),
    hint ? make("p", { class: "soft" }, ...withCode(hint)) : null,
    make("p", { class: "actions" }, ...buttons, make("button", { onclick: close }, "Close")));
  shownCards.set(id, card);
  document.getElementById("cards").append(card);
  card.scrollIntoView({ block: "nearest" });
}

/** Takes a card away. */
export function hideCard(id) {
  shownCards.get(id)?.remove();
  shownCards.delete(id);
}

/** A card for an error of the package, or of the browser. What was interrupted needs none. */
export function showError(id, error, actions = []) {
  if (error.kind === "interrupted") return;
  showCard(id, {
    title: TITLES[error.kind] ?? TITLES.internal,
    text: sentence(error.message ?? String(error)),
    hint: error.hint ? sentence(error.hint) : null,
    actions,
  });
}

/** What stands between backquotes is code. */
function withCode(text) {
  return text.split("`").map((part, i) => (i % 2 === 1 ? make("code", {}, part) : part));
}

/** A text of the package as a sentence. */
export function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/** Says something to those who listen to the page instead of looking at it. */
export function announce(text) {
  let region = document.getElementById("said");
  if (!region) {
    region = make("p", { id: "said", class: "visually-hidden", "aria-live": "polite" });
    document.body.append(region);
  }
  fill(region, text);
}
