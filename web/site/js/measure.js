// The panel that measures this device, and lays other results beside its own.

import { announce, hideCard, showCard } from "./cards.js";
import { fill, make, picker, save } from "./dom.js";
import * as format from "./format.js";
import { compared, machineOf, parseRows, spread, unitOfRow } from "./rows.js";
import { deviceName, session } from "./session.js";

const KINDS = {
  peak: "What the device can do at best",
  gemm: "Products of square matrices",
  kernel: "Kernels",
  model: "Forward pass",
  train: "Training step",
  generate: "Generation",
  memory: "Memory",
};

/** More measurements of a kind than this are folded away. */
const MOST_OPEN = 24;

export class MeasurePanel {
  constructor(root) {
    this.own = [];
    this.others = new Map();
    this.#build(root);
    for (const event of ["job", "device", "lost"]) session.on(event, () => this.#showButtons());
    this.#showButtons();
    this.#show();
  }

  #build(root) {
    this.quick = make("button", { class: "primary", onclick: () => this.run(true) }, "Measure");
    this.full = make("button", { onclick: () => this.run(false) }, "Measure thoroughly");
    this.halt = make("button", { onclick: () => session.blt?.interrupt() }, "Stop");
    this.copy = make("button", { onclick: () => this.#copy() }, "Copy as JSON");
    this.keep = make("button", { onclick: () => this.#save() }, "Save as a file");
    this.open = picker("Compare with files", { multiple: true, accept: ".jsonl,.json" },
      (files) => this.#add(files));
    this.status = make("p", { class: "small soft number", "aria-live": "polite" });
    this.legend = make("ul", { class: "legend" });
    this.bars = make("div", { class: "groups" });
    this.table = make("div", { class: "scroll", tabIndex: 0, role: "region",
      "aria-label": "All rows" });
    fill(root,
      make("p", { class: "intro" }, "The benchmark of the program, ",
        make("code", {}, "blt bench"),
        ", on this device and in this browser. Every kernel is compared with its oracle before " +
        "it is timed; the median of its samples counts. Drop results of other machines here to " +
        "lay them beside yours."),
      make("p", { class: "actions" }, this.quick, this.full, this.halt, this.copy, this.keep,
        this.open),
      this.status, this.legend, this.bars,
      make("details", { class: "small rows" }, make("summary", {}, "All rows"), this.table));
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#add([...event.dataTransfer.files]);
    });
  }

  #showButtons() {
    const isBusy = !session.blt || session.job !== null;
    this.quick.disabled = isBusy;
    this.full.disabled = isBusy;
    this.halt.disabled = session.job !== "measure";
    this.copy.disabled = this.own.length === 0;
    this.keep.disabled = this.own.length === 0;
  }

  async run(isQuick) {
    hideCard("measure");
    this.own = [];
    fill(this.status, "Measuring …");
    this.#show();
    const options = {
      quick: isQuick,
      onBegan: (what) => fill(this.status, `Measuring ${what} …`),
    };
    await session.run("measure", (blt) => blt.bench(options, (row) => {
      this.own.push(row);
      this.#show();
    }), () => this.run(isQuick));
    const failed = this.own.filter((row) => row.status === "failed").length;
    const rows = format.plural(this.own.length, "row");
    const words = `${rows} measured, ${format.count(failed)} failed.`;
    fill(this.status, words);
    announce(words);
    this.#showButtons();
  }

  async #add(files) {
    for (const file of files) {
      try {
        this.others.set(file.name, parseRows(await file.text()));
      } catch (error) {
        showCard("measure", { title: "This is no result of blt bench", text: `${file.name}: ` +
          `${error.message}.`, hint: "Results are the files of `blt bench --json`." });
      }
    }
    this.#show();
  }

  get #json() {
    return this.own.map((row) => JSON.stringify(row)).join("\n") + "\n";
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#json);
      fill(this.status, `${format.plural(this.own.length, "row")} copied, a row a line.`);
    } catch {
      showCard("measure", {
        title: "The browser did not let the page copy",
        text: "The same rows can be saved as a file.",
        actions: [["Save as a file", () => this.#save()]],
      });
    }
  }

  #save() {
    save(new Blob([this.#json], { type: "application/jsonl" }), "blt-bench-browser.jsonl");
  }

  #show() {
    const here = "this browser";
    const sources = [[here, this.own], ...this.others].filter(([, rows]) => rows.length > 0);
    const colours = new Map(sources.map(([name], i) => [name, `var(--bar${i % 6})`]));
    fill(this.legend, ...sources.map(([name, rows]) => this.#legendEntry(name, rows, colours)));
    const groups = compared(sources);
    const kinds = [...new Set(groups.map((group) => group.kind))];
    fill(this.bars, ...kinds.map((kind) =>
      section(kind, groups.filter((group) => group.kind === kind), colours)));
    fill(this.table, sources.length > 0 ? table(sources) : "");
    this.table.parentElement.hidden = sources.length === 0;
    this.#showButtons();
  }

  #legendEntry(name, rows, colours) {
    const remove = make("button", {
      class: "plain",
      onclick: () => {
        this.others.delete(name);
        this.#show();
      },
    }, "Take away");
    return make("li", { class: "small" },
      make("span", { class: "swatch", style: `background:${colours.get(name)}` }),
      `${name}: ${this.others.has(name) ? machineOf(rows[0]) : deviceName()} `,
      this.others.has(name) ? remove : null);
  }
}

/** The bars of one kind; where there are very many they wait to be asked for. */
function section(kind, groups, colours) {
  const title = KINDS[kind] ?? kind;
  const grid = make("div", { class: "grid" }, ...groups.map((group) => barGroup(group, colours)));
  if (groups.length <= MOST_OPEN) return make("section", {}, make("h2", {}, title), grid);
  return make("details", {}, make("summary", {}, `${title}, ${format.count(groups.length)}`), grid);
}

function barGroup({ name, shape, bars }, colours) {
  return make("div", { class: "group" },
    make("p", { class: "small" }, make("span", { class: "mono" }, name),
      make("span", { class: "soft" }, ` ${shape}`)),
    ...bars.map(({ source, row, value, share }) => make("div", { class: "measured" },
      make("span", { class: "visually-hidden" }, source),
      ...measured(row, value, share, colours.get(source)),
    )));
}

function measured(row, value, share, colour) {
  if (value === null) {
    return [make("span", { class: "small soft none" }, `${row.status}: ${row.reason}`)];
  }
  return [
    make("span", { class: "bar" }, make("span", {
      style: `width:${(100 * share).toFixed(1)}%;background:${colour}`,
    })),
    make("span", { class: "small number" }, format.quantity(value, unitOfRow(row))),
  ];
}

function table(sources) {
  const heads = ["source", "part", "kernel", "variant", "shape", "precision", "median", "± %",
    "rate", "% of peak", "status"];
  const cell = (text) => make("td", {}, text);
  const rows = sources.flatMap(([name, own]) => own.map((row) => {
    const half = spread(row.samples_ms);
    return make("tr", {}, ...[
      name, row.kind, row.kernel, row.variant ?? "", row.shape ?? "", row.precision ?? "",
      Number.isFinite(row.median_ms) ? format.duration(row.median_ms) : "",
      half === null ? "" : (100 * half).toFixed(1),
      Number.isFinite(row.rate) ? format.quantity(row.rate, row.unit) : "",
      Number.isFinite(row.percent_of_peak) ? row.percent_of_peak.toFixed(0) : "",
      row.status === "ok" ? "ok" : `${row.status}: ${row.reason}`,
    ].map(cell));
  }));
  return make("table", { class: "number" },
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows));
}
