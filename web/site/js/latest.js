// Asynchronous work that follows something which changes faster than it can be done.

/**
 * A function that runs `work` with what it was last called with, one call at a time: while one
 * runs, only the newest of those that came is kept, and runs next. `settled` hears the result of
 * each run and whether something newer is waiting; `failed` hears what it threw.
 */
export function latest(work, settled, failed) {
  let waiting = null;
  let isRunning = false;
  const run = async () => {
    isRunning = true;
    while (waiting !== null) {
      const input = waiting;
      waiting = null;
      try {
        const output = await work(...input);
        settled(output, waiting !== null);
      } catch (error) {
        failed(error, waiting !== null);
      }
    }
    isRunning = false;
  };
  return (...input) => {
    waiting = input;
    if (!isRunning) run();
  };
}

/** A function that calls `action` once calls to it have paused for `ms`. */
export function paused(action, ms) {
  let timer = 0;
  return (...input) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...input), ms);
  };
}
