/**
 * Builds the parts (shim, addon, child, kernel, ts; all by default), each on its own, so that one missing tool does not hide the
 * others. A part whose tools are missing says in one line which Debian package to install, and the rest is still built;
 * a part that does not compile is an error.
 */
import { spawnSync } from 'node:child_process';

const PARTS = {
  shim: [
    ['make', 'make'],
    ['gcc', 'gcc libc6-dev'],
  ],
  addon: [
    ['make', 'make'],
    ['g++', 'g++'],
  ],
  child: [
    ['make', 'make'],
    ['go', 'golang-go (1.24 or newer)'],
  ],
  kernel: [
    ['make', 'make'],
    ['clang', 'clang'],
    ['<bpf/libbpf.h>', 'gcc libbpf-dev'],
  ],
  ts: [['make', 'make']],
};

/** A program, or a header that the C compiler finds. */
const has = (tool) =>
  tool.startsWith('<')
    ? spawnSync('cc', ['-E', '-x', 'c', '-'], { input: `#include ${tool}\n`, stdio: ['pipe', 'ignore', 'ignore'] })
        .status === 0
    : spawnSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' }).status === 0;

let failed = false;
for (const part of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(PARTS)) {
  const tools = PARTS[part];
  if (tools === undefined) {
    console.error(`build: no part "${part}" (known: ${Object.keys(PARTS).join(', ')})`);
    process.exit(2);
  }
  const missing = tools.filter(([tool]) => !has(tool)).map(([, pkg]) => pkg);
  if (missing.length > 0) {
    console.error(`build: ${part}: not built, install: ${[...new Set(missing)].join(' ')}`);
    continue;
  }
  const made = spawnSync('make', ['-s', part], { encoding: 'utf8', cwd: import.meta.dirname });
  if (made.status === 0) continue;
  failed = true;
  process.stderr.write(`${made.stdout}${made.stderr}`);
  console.error(`build: ${part}: failed (the compiler's message is above)`);
}
process.exitCode = failed ? 1 : 0;
