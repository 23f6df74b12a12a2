import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { FilterPeer, FilterRoute } from '../../../bgp/speaker.ts';
import { filterNamed, loadFilters } from '../../../router/app/filter-module.ts';
import { filterDigest } from '../../../router/config/filter-digest.ts';
import { MlshimError } from '../../../router/lib/errors.ts';

function file(t: ExecutionContext, name: string, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

/** As the configuration names it now. */
const load = (path: string) => loadFilters({ path, digest: filterDigest(path) });

async function refusal(t: ExecutionContext, path: string): Promise<string> {
  const e = await t.throwsAsync(load(path), { instanceOf: MlshimError });
  t.is(e.code, 'CONFIG_INVALID');
  return e.message;
}

test('the functions a module exports are found by name', async (t) => {
  const path = file(t, 'f.mjs', 'export const one = (r) => r;\nexport function two() {}\nexport const three = 3;\n');
  const found = await load(path);
  t.deepEqual([...found.keys()], ['one', 'two']);
  const route = {} as FilterRoute;
  t.is(filterNamed('one', found, path)(route, {} as FilterPeer), route);
  t.throws(() => filterNamed('three', found, path), {
    message: `${path}: exports no function "three" (known: one, two)`,
  });
});

test('a module that has changed is loaded anew, also where only what it imports has', async (t) => {
  const path = file(t, 'f.mjs', "export { a } from './lists.mjs';\nexport const before = () => 1;\n");
  const lists = join(dirname(path), 'lists.mjs');
  writeFileSync(lists, "export const a = () => 'old';\n");
  const first = await load(path);
  const call = (functions: Awaited<typeof first>): unknown => functions.get('a')!({} as FilterRoute, {} as FilterPeer);
  t.is(call(first), 'old' as never);
  writeFileSync(lists, "export const a = () => 'new';\n");
  t.is(call(await load(path)), 'new' as never);
  t.is(call(first), 'old' as never);
  writeFileSync(path, "export { a } from './lists.mjs';\nexport const after = () => 1;\n");
  t.deepEqual([...(await load(path)).keys()].sort(), ['a', 'after']);
});

test('what is wrong with a module is told with its place', async (t) => {
  const syntax = file(t, 'f.mjs', 'export const a = 1;\nexport function f(r) {\n  return r..x;\n}\n');
  t.is(await refusal(t, syntax), `${syntax}:3:12: SyntaxError: Unexpected token '.'`);
  const thrown = file(t, 'f.mjs', 'const x = undefined;\n  x.y();\n');
  t.regex(await refusal(t, thrown), /f\.mjs:2:5: TypeError: Cannot read properties of undefined/);
  t.is(await refusal(t, '/nowhere/f.mjs'), '/nowhere/f.mjs: no such file');
});
