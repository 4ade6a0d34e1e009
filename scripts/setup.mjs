/** The set-up of a clone, in plain Node without dependencies: it owns the order "right Node, then the steps" and knows nothing of what a step does. */
/* The first lines run on any Node: nothing newer may be imported before the version is known. */

/** PyTorch's own wheel index: the only network address that set-up knows by itself; a variant (cpu, cu130) is appended. */
const TORCH_INDEX = 'https://download.pytorch.org/whl';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `set-up: Node 20.19 or newer is needed and this is ${process.versions.node}: install a newer Node.`,
  );
  process.exitCode = 1;
} else {
  import('./setup/main.mjs').then(
    ({ main }) => main(process.argv.slice(2), { index: TORCH_INDEX }),
    (error) => {
      console.error(
        `set-up: scripts/setup cannot be loaded (${error.message}): restore it from the repository.`,
      );
      process.exitCode = 1;
    },
  );
}
