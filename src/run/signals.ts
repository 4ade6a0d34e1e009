/** Owns SIGINT and SIGTERM: the first asks for a stop, a second leaves at once. Knows not what is stopped. */

/** A watch over the two signals; `dispose` gives them back to Node. */
export interface SignalWatch {
  stopRequested(): boolean;
  dispose(): void;
}

/** npm passes Ctrl-C on to a process that the terminal has told already; what comes this soon is the same key press. */
const SAME_PRESS_MS = 250;

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** Watches until disposed; `onFirst` is called once, with the signal's name. */
export function watchSignals(onFirst: (signal: NodeJS.Signals) => void): SignalWatch {
  let firstAt: number | null = null;
  const handle = (signal: NodeJS.Signals): void => {
    if (firstAt === null) {
      firstAt = performance.now();
      onFirst(signal);
    } else if (performance.now() - firstAt > SAME_PRESS_MS) {
      process.exit(signal === 'SIGTERM' ? EXIT_CODES.SIGTERM : EXIT_CODES.SIGINT);
    }
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  return {
    stopRequested: () => firstAt !== null,
    dispose: () => {
      process.off('SIGINT', handle);
      process.off('SIGTERM', handle);
    },
  };
}
