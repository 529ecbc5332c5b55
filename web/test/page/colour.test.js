import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { contrast, FULL_NATS, GROUND, palette, stepOf, STEPS } from "../../site/js/colour.js";

test("text in every colour of the scale can be read in both themes", () => {
  for (const theme of ["light", "dark"]) {
    for (const colour of palette(theme)) {
      const ratio = contrast(colour, GROUND[theme]);
      assert.ok(ratio >= 4.5, `${theme} ${colour}: ${ratio}`);
    }
  }
});

test("the style sheet has the grounds that contrasts were measured on", () => {
  const css = readFileSync(new URL("../../site/css/base.css", import.meta.url), "utf8");
  for (const ground of Object.values(GROUND)) assert.ok(css.includes(`--ground: ${ground}`));
});

test("colours differ from step to step, and steps rise with entropy", () => {
  for (const theme of ["light", "dark"]) assert.equal(new Set(palette(theme)).size, STEPS);
  assert.equal(stepOf(0), 0);
  assert.equal(stepOf(FULL_NATS / 2), STEPS / 2);
  assert.equal(stepOf(99), STEPS - 1);
  assert.equal(stepOf(NaN), 0);
  assert.equal(stepOf(-1), 0);
});

test("contrast is that of WCAG", () => {
  assert.equal(contrast("#000000", "#ffffff"), 21);
  assert.ok(Math.abs(contrast("#777777", "#ffffff") - 4.48) < 0.01);
});
