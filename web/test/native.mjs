// The program `blt` on the model that was trained natively, with the CPU engine.

import { spawnSync } from "node:child_process";

/** What a command prints; `blt patch` and `generate` with the test's model. */
export function blt(command, ...args) {
  return bltOn(process.env.BLT_TEST_MODEL, command, ...args);
}

export function bltOn(model, command, ...args) {
  return run(process.env.BLT_TEST_PROGRAM, [command, "--model", model, "--device", "cpu", ...args]);
}

export function run(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  return stdout;
}
