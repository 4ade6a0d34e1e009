/** Owns SIGINT and SIGTERM: the first asks for a stop, a second leaves at once. Knows not what is stopped. */

/** A watch over the two signals; `dispose` gives them back to Node. */
export interface SignalWatch {
  stopRequested(): boolean;
  dispose(): void;
}

/**
 * One Ctrl-C comes up to three times: from the terminal, from npm and from set-up, which pass it on. What comes this
 * soon, or waited while a step kept the process busy, is the same key press.
 */
const SAME_PRESS_MS = 250;

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** Watches until disposed; `onFirst` is called once, with the signal's name. */
export function watchSignals(onFirst: (signal: NodeJS.Signals) => void): SignalWatch {
  let asked = false;
  let secondCounts = false;
  const handle = (signal: NodeJS.Signals): void => {
    if (secondCounts) process.exit(signal === 'SIGTERM' ? EXIT_CODES.SIGTERM : EXIT_CODES.SIGINT);
    if (asked) return;
    asked = true;
    // After the timer, one more turn: signals that arrived during a long step are handled between the two.
    setTimeout(() => {
      setImmediate(() => {
        secondCounts = true;
      });
    }, SAME_PRESS_MS).unref();
    onFirst(signal);
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  return {
    stopRequested: () => asked,
    dispose: () => {
      process.off('SIGINT', handle);
      process.off('SIGTERM', handle);
    },
  };
}
