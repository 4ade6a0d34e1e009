/** What set-up tells people while it works, on stderr so that stdout stays the command's own; it decides nothing. */

const MEGABYTE = 1e6;

/** A reporter: `line` prints one line, `bytes` shows a transfer (live on a terminal, quarter by quarter elsewhere). */
export function createReporter({ quiet = false, stream = process.stderr } = {}) {
  const live = Boolean(stream.isTTY) && !quiet;
  let drawn = false;
  let shownAt = 0;
  let quarter = 0;
  const clear = () => {
    if (drawn) stream.write('\r\u001b[K');
    drawn = false;
  };
  return {
    live,
    line(text) {
      clear();
      if (!quiet) stream.write(`set-up: ${text}\n`);
    },
    bytes(label, done, total) {
      if (quiet) return;
      const text = total
        ? `${label}: ${Math.floor((100 * done) / total)} % (${(done / MEGABYTE).toFixed(0)} of ${(total / MEGABYTE).toFixed(0)} MB)`
        : `${label}: ${(done / MEGABYTE).toFixed(0)} MB`;
      if (live) {
        if (Date.now() - shownAt < 100 && done !== total) return;
        shownAt = Date.now();
        drawn = true;
        stream.write(`\r\u001b[Kset-up: ${text}`);
      } else if (total && Math.floor((4 * done) / total) > quarter) {
        quarter = Math.floor((4 * done) / total);
        stream.write(`set-up: ${text}\n`);
      }
    },
    clear,
  };
}
