// A training that goes on: a step at a time, behind whatever else waits for the device.

import { failureOf } from "./failure.js";
import { saveTraining } from "./saved_training.js";

export class TrainingRun {
  #handle;
  #enqueue;
  #say;
  #saveEveryMs;
  #savedAt = performance.now();
  #isPlaying = false;
  #isUnderWay = false;
  #hasEnded = false;
  // Of this training alone, whatever other tabs do.
  #id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  #last = null;
  #savedStep = null;

  constructor(key, handle, enqueue, say, saveEverySeconds) {
    this.key = key;
    this.#handle = handle;
    this.#enqueue = enqueue;
    this.#say = say;
    this.#saveEveryMs = saveEverySeconds * 1000;
  }

  resume() {
    if (this.#hasEnded || this.#isPlaying) return;
    this.#isPlaying = true;
    this.#goOn();
  }

  pause() {
    if (!this.#isPlaying) return;
    this.#isPlaying = false;
    this.#say("paused", this.#last);
    this.saveSoon();
  }

  stop() {
    this.#isPlaying = false;
    this.saveSoon();
    this.#end("ended");
  }

  /** Saves what was learned since the last time, when the device has time. */
  saveSoon() {
    if (this.#last && this.#last !== this.#savedStep) {
      this.#enqueue(() => this.#save(), true).catch(() => {});
    }
  }

  /** One step; the caller has waited for its turn. */
  async stepOnce() {
    if (!this.#hasEnded) await this.#step();
  }

  archive() {
    return this.#handle.archive();
  }

  async #goOn() {
    // A step that was under way when it was paused and resumed goes on by itself.
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    while (this.#isPlaying && !this.#hasEnded) {
      // What goes wrong is told by the step.
      await this.#enqueue(() => this.#step(), true).catch((error) => this.#fail(error));
    }
    this.#isUnderWay = false;
  }

  async #step() {
    let step;
    try {
      step = await this.#handle.step();
    } catch (error) {
      if (error?.kind !== "interrupted") return this.#fail(error);
      return this.pause();
    }
    if (step) {
      this.#last = step;
      this.#say("step", step);
      if (performance.now() - this.#savedAt >= this.#saveEveryMs) await this.#save();
      return;
    }
    await this.#save();
    this.#end("ended");
  }

  async #save() {
    this.#savedAt = performance.now();
    if (!this.#last || this.#saveEveryMs <= 0) return;
    const last = this.#last;
    if (last === this.#savedStep) return;
    try {
      const info = await saveTraining(this.#id, last, await this.#handle.archive());
      this.#savedStep = last;
      this.#say("saved", { ...info, failure: null });
    } catch (error) {
      const { step } = last;
      this.#say("saved", { step, bytes: 0, seconds: 0, failure: failureOf(error) });
    }
  }

  #fail(error) {
    this.#isPlaying = false;
    if (!this.#hasEnded) this.#say("failed", failureOf(error));
    this.#hasEnded = true;
  }

  #end(event) {
    if (!this.#hasEnded) this.#say(event, this.#last);
    this.#hasEnded = true;
  }
}
