// Elements in one expression.

/**
 * An element with properties and children: `make("button", { class: "primary", onclick }, "Go")`.
 * Properties that the element does not have as such, `aria-label` for one, become attributes.
 */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key === "class") element.className = value;
    else if (key in element && !key.includes("-")) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/** Rows of a description list: [term, description, class of the row]. */
export function pairs(...rows) {
  return rows.filter(Boolean).flatMap(([term, description, name = ""]) => [
    make("dt", { class: name }, term),
    make("dd", { class: name }, description),
  ]);
}

/** A labelled field; the label says what it is, `note` its unit or range. */
export function labelled(label, input, note = "") {
  return make("label", { class: "field" }, make("span", {}, label), input,
    note ? make("small", { class: "soft" }, note) : null);
}

/**
 * Keeps a long text out of a field: one that is given 100 MB stops the page. `onLong` hears of a
 * pasted text of more than `most` characters instead.
 */
export function guardPaste(field, most, onLong) {
  field.addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (text.length <= most) return;
    event.preventDefault();
    onLong(text);
  });
}

/** Hands a file to the person at the page. */
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A button that opens a file picker. `attributes` are those of the file input. */
export function picker(label, attributes, onFiles) {
  const input = make("input", { type: "file", hidden: true, ...attributes });
  input.addEventListener("change", () => {
    if (input.files.length > 0) onFiles([...input.files]);
    input.value = "";
  });
  const button = make("button", { type: "button", onclick: () => input.click() }, label);
  return make("span", { class: "picker" }, button, input);
}
