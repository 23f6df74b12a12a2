/**
 * The one test runner: `node test/run.mjs check | unit | sim | child | daemon | shim | interop | lab | all`, or compiled
 * test files; `asan` and `race` run the addon and the child under their sanitizers.
 * Runs the static checks, AVA over the compiled tests group by group (TAP), and `go test` for the child; prints failures
 * with their diagnostics, skips with their reasons, and ends with `N passed, N failed, N skipped`.
 * Needs a finished build (`npm ci` or `npm run build`).
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const TESTS = join(ROOT, 'build', 'test');
const BIN = join(ROOT, 'node_modules', '.bin');

const folder = (path) => path.split(sep)[0];
/** Tests that start routers as a user would take seconds each and are no part of the inner loop. */
const DAEMON = [
  'router/app/daemon',
  'router/app/worker-death',
  'router/cli/demo',
  'router/kernel/programs',
  'router/kernel/programs-old',
].map((p) => p.replaceAll('/', sep));
const isDaemon = (path) => DAEMON.some((p) => path === `${p}.test.js`);
const isOwnGroup = (path) =>
  ['arch', 'sim', 'shim', 'interop', 'lab'].includes(folder(path)) ||
  path.startsWith(`wg${sep}child`) ||
  isDaemon(path);

/** Groups in the order `all` runs them: cheap and telling ones first. */
const ALL = ['check', 'unit', 'sim', 'child', 'daemon', 'shim', 'interop', 'lab'];
const GROUPS = {
  check: { steps: [biome, types, gofmt, goVet, clangFormat, ava((path) => folder(path) === 'arch')] },
  unit: { steps: [ava((path) => !isOwnGroup(path))] },
  sim: { steps: [ava((path) => folder(path) === 'sim')] },
  child: { steps: [goTest, ava((path) => path.startsWith(`wg${sep}child`))] },
  daemon: { steps: [ava(isDaemon, ['--serial', '--concurrency=1'])] },
  shim: { steps: [ava((path) => folder(path) === 'shim')] },
  interop: { steps: [ava((path) => folder(path) === 'interop', ['--serial', '--concurrency=1'])] },
  lab: { steps: [ava((path) => folder(path) === 'lab')] },
  asan: { steps: [addonUnderAsan] },
  race: { steps: [goRace] },
};

const totals = { passed: 0, failed: 0, skipped: 0 };

function record(outcome, name, details = '') {
  totals[outcome] += 1;
  if (outcome === 'failed') console.log(`FAILED  ${name}\n${details.replace(/^/gm, '    ')}`);
  if (outcome === 'skipped') console.log(`SKIPPED ${name}`);
}

/** Run a command; returns its exit status and combined output, or calls `onLine` per line of standard output. */
function run(command, args, { cwd = ROOT, onLine, env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    let output = '';
    let rest = '';
    child.stdout.on('data', (chunk) => {
      if (onLine === undefined) output += chunk;
      else {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop();
        for (const line of lines) onLine(line);
      }
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    child.on('error', (error) => resolve({ status: 127, output: String(error) }));
    child.on('close', (status) => {
      if (rest !== '') onLine(rest);
      resolve({ status: status ?? 1, output });
    });
  });
}

async function single(name, command, args, options) {
  const { status, output } = await run(command, args, options);
  record(status === 0 ? 'passed' : 'failed', name, output);
}

async function biome() {
  await single('check: format and lint (biome)', join(BIN, 'biome'), ['ci', '--log-level=warn', '.']);
}

/** Emits too: the tests of the architecture, and whatever group runs next, are those of the tree as it is now. */
async function types() {
  await single('check: types (tsc)', join(BIN, 'tsc'), ['-p', '.']);
}

async function clangFormat() {
  const name = 'check: clang-format';
  const sources = [
    'shim/src',
    'shim/include',
    'router/native',
    'router/kernel/bpf',
    'router/kernel/loader',
    'test/shim/c',
    'test/bench',
  ].flatMap((dir) =>
    readdirSync(join(ROOT, dir))
      .filter((file) => /\.(c|h|cc)$/.test(file))
      .map((file) => join(dir, file)),
  );
  const { status, output } = await run('clang-format', ['--dry-run', '-Werror', ...sources]);
  if (status === 127) record('skipped', `${name} (not installed: clang-format)`);
  else record(status === 0 ? 'passed' : 'failed', name, output.split('\n').slice(0, 20).join('\n'));
}

async function gofmt() {
  const { status, output } = await runCollecting('gofmt', ['-l', 'wg/child']);
  record(status === 0 && output.trim() === '' ? 'passed' : 'failed', 'check: gofmt', output);
}

async function goVet() {
  await single('check: go vet', 'go', ['vet', './...'], { cwd: join(ROOT, 'wg', 'child') });
}

async function runCollecting(command, args, options = {}) {
  let text = '';
  const result = await run(command, args, {
    ...options,
    onLine: (line) => {
      text += `${line}\n`;
    },
  });
  return { status: result.status, output: text + result.output };
}

/** The addon's own tests and those of the room that uses it most, with the addon built for ASan and UBSan. */
async function addonUnderAsan() {
  const addon = join(ROOT, 'build', 'native', 'asan', 'mlshim.node');
  const made = await run('make', ['-s', '-C', 'router/native', 'asan', `OUT=${join(ROOT, 'build', 'native')}`]);
  record(made.status === 0 ? 'passed' : 'failed', 'asan: the addon builds', made.output);
  const runtime = await runCollecting('g++', ['-print-file-name=libasan.so']);
  const env = { LD_PRELOAD: runtime.output.trim(), ASAN_OPTIONS: 'detect_leaks=0', MLSHIM_ADDON: addon };
  await ava((path) => /^router.(native|shimlink)./.test(path), [], env)();
}

async function goRace() {
  await goTest(['-race']);
}

async function goTest(flags = []) {
  const output = new Map();
  const onLine = (line) => {
    let event;
    try {
      event = JSON.parse(line);
    } catch {
      return;
    }
    const name = `child: ${event.Test ?? event.Package}`;
    if (event.Action === 'output') output.set(name, (output.get(name) ?? '') + event.Output);
    if (event.Test === undefined && event.Action !== 'fail') return;
    if (event.Action === 'pass') record('passed', name);
    if (event.Action === 'fail') record('failed', name, output.get(name));
    if (event.Action === 'skip') record('skipped', `${name}: ${(output.get(name) ?? '').split('\n')[1]?.trim()}`);
  };
  const before = totals.passed + totals.failed;
  const { status, output: errors } = await run('go', ['test', '-json', ...flags, './...'], {
    cwd: join(ROOT, 'wg', 'child'),
    onLine,
  });
  if (totals.passed + totals.failed === before)
    record('failed', `child: go test ran nothing (status ${status})`, errors);
}

/** An AVA step over the compiled test files that `wanted` picks by their path below build/test. */
function ava(wanted, extra = [], env = {}) {
  return async () => {
    const files = readdirSync(TESTS, { recursive: true })
      .filter((path) => path.endsWith('.test.js') && existsSync(join(ROOT, 'test', path.replace(/\.js$/, '.ts'))))
      .filter(wanted)
      .map((path) => relative(ROOT, join(TESTS, path)))
      .sort();
    if (files.length > 0) await avaFiles(files, extra, env);
  };
}

async function avaFiles(files, extra, env = {}) {
  let open;
  let planned = false;
  const finish = () => {
    if (open !== undefined) record(open.outcome, open.name, open.details);
    open = undefined;
  };
  const onLine = (line) => {
    const point = /^(not )?ok \d+ - (.*?)( # (SKIP|TODO).*)?$/.exec(line);
    if (point !== null) {
      finish();
      open = {
        outcome: point[4] !== undefined ? 'skipped' : point[1] ? 'failed' : 'passed',
        name: point[2],
        details: '',
      };
    } else if (/^1\.\.\d+$/.test(line)) {
      planned = true;
      finish();
    } else if (open?.outcome === 'failed') open.details += `${line}\n`;
    else if (line.startsWith('    # ') || line.startsWith('# ')) console.log(line.trim());
    else if (line.startsWith('Bail out!')) record('failed', line);
  };
  const { status, output } = await run(join(BIN, 'ava'), ['--tap', ...extra], {
    onLine,
    env: { ...env, MLSHIM_TESTS: files.join(' ') },
  });
  finish();
  if (output.trim() !== '') console.log(output.trimEnd());
  if (!planned) record('failed', `AVA did not finish (status ${status})`, output);
  else if (status !== 0 && totals.failed === 0) record('failed', `AVA ended with status ${status}`, output);
}

const wanted = process.argv.slice(2);
if (wanted.length === 0) wanted.push('all');
const started = performance.now();
for (const name of wanted[0] === 'all' ? ALL : wanted) {
  const at = performance.now();
  console.log(`== ${name}`);
  if (name.endsWith('.js')) await avaFiles([name], []);
  else if (GROUPS[name] === undefined) {
    console.error(`test: no group "${name}" (known: ${Object.keys(GROUPS).join(', ')}, all, or a compiled test file)`);
    process.exit(2);
  } else for (const step of GROUPS[name].steps) await step();
  console.log(`   ${((performance.now() - at) / 1000).toFixed(1)} s`);
}
console.log(`${((performance.now() - started) / 1000).toFixed(1)} s in all`);
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0;
