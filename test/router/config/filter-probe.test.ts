import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type FilterFault, faultText, probeFilters } from '../../../router/config/filter-probe.ts';

function file(t: ExecutionContext, name: string, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

async function fault(t: ExecutionContext, path: string, limitMs?: number): Promise<FilterFault> {
  const probe = await probeFilters(path, limitMs);
  if ('fault' in probe) return probe.fault;
  t.fail(`${path} was loaded`);
  return { message: '', place: undefined };
}

test('the functions of a module are found, whatever it prints and leaves running', async (t) => {
  const path = file(
    t,
    'f.mjs',
    `console.log('{"functions": []}'); console.error('/etc/passwd:1\\nx\\n  ^'); setInterval(() => {}, 1000);
export const one = (r) => r; export async function two() {} export const three = 3;\n`,
  );
  t.deepEqual(await probeFilters(path), {
    functions: [
      { name: 'one', isAsync: false },
      { name: 'two', isAsync: true },
    ],
  });
});

test('a module that never ends is given up', async (t) => {
  const loops = file(t, 'loops.mjs', 'for (;;);\n');
  t.is((await fault(t, loops, 300)).message, 'not loaded after 0.3 s');
  const waits = file(t, 'waits.mjs', 'await new Promise(() => undefined);\n');
  t.is((await fault(t, waits)).message, 'an "await" outside of functions never ends');
});

test('a module that starts another process with its own output does not hold the probe up', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'spawns.mjs');
  writeFileSync(
    path,
    `import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
const { pid } = spawn('sleep', ['60'], { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
writeFileSync(${JSON.stringify(join(folder, 'pid'))}, String(pid));\n`,
  );
  // What it said is known as soon as the time is over.
  t.deepEqual(await probeFilters(path, 3000), { functions: [] });
  process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')), 'SIGKILL');
});

test('a module that ends its process, or has none, is told apart from one that throws', async (t) => {
  t.is((await fault(t, file(t, 'f.mjs', 'process.exit(3);\n'))).message, 'it ends its process (status 3)');
  const kills = file(t, 'f.mjs', "process.kill(process.pid, 'SIGTERM'); for (;;);\n");
  t.is((await fault(t, kills)).message, 'it ends its process (SIGTERM)');
  t.is((await fault(t, '/nowhere/f.mjs')).message, 'no such file');
  t.is((await fault(t, tmpdir())).message, 'not a file');
  t.is((await fault(t, file(t, 'f.mjs', "throw 'no';\n"))).message, 'it throws no');
});

test('a mistake is told with its place, in the file where it is', async (t) => {
  const syntax = file(t, 'f.mjs', 'export const a = 1;\nexport function f(r) {\n  return r..x;\n}\n');
  t.is(faultText(syntax, await fault(t, syntax)), `${syntax}:3:12: SyntaxError: Unexpected token '.'`);
  const open = file(t, 'f.mjs', 'export function f(r) {\n');
  t.is(faultText(open, await fault(t, open)), `${open}:1:23: SyntaxError: Unexpected end of input`);
  const thrown = file(t, 'f.mjs', 'const x = undefined;\n  x.y();\n');
  t.deepEqual((await fault(t, thrown)).place, { file: thrown, line: 2, column: 5 });
  const common = file(t, 'f.cjs', "\nthrow new RangeError('a\\nb');\n");
  t.is(faultText(common, await fault(t, common)), `${common}:2:7: RangeError: a`);
  const imports = file(t, 'f.mjs', "import { no } from './f.mjs';\nexport const f = no;\n");
  const { place, message } = await fault(t, imports);
  t.deepEqual(place, { file: imports, line: 1, column: 10 });
  t.regex(message, /does not provide an export named 'no'/);
  const missing = file(t, 'f.mjs', "import './nowhere.mjs';\n");
  t.regex((await fault(t, missing)).message, /^Error: Cannot find module '.*nowhere\.mjs' imported from/);
});

test('TypeScript is loaded where this Node can, and refused with advice where not', async (t) => {
  const path = file(t, 'f.ts', 'export const f = (r: number): number => r;\n');
  const probe = await probeFilters(path);
  if ((process.features as { typescript?: unknown }).typescript)
    t.deepEqual(probe, { functions: [{ name: 'f', isAsync: false }] });
  else
    t.regex(
      'fault' in probe ? probe.fault.message : '',
      /^Node [\d.]+ does not load TypeScript; compile it, or use Node 22\.18/,
    );
});
