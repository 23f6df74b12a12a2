import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  claimInstance,
  instanceName,
  isInForce,
  pinDirOf,
  releaseInstance,
  TABLES_PER_SLOT,
} from '../../../router/kernel/instance.ts';

function folders(t: ExecutionContext, n: number): string[] {
  const root = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  return Array.from({ length: n }, (_, i) => mkdtempSync(join(root, `${i}-`)));
}

test('routers of different folders have other names and tables', (t) => {
  const [slots, a, b] = folders(t, 3);
  const one = claimInstance(a!, slots);
  const two = claimInstance(b!, slots);
  t.not(one.name, two.name);
  t.not(one.pinDir, two.pinDir);
  t.deepEqual([one.firstTable, two.firstTable], [0, TABLES_PER_SLOT]);
});

test('a router that comes back has what it had, until it is released', (t) => {
  const [slots, a, b] = folders(t, 3);
  claimInstance(a!, slots);
  const before = claimInstance(b!, slots);
  releaseInstance(a!, slots);
  t.false(isInForce(a!));
  t.true(isInForce(b!));
  t.deepEqual(claimInstance(b!, slots), before);
  t.is(pinDirOf(b!), before.pinDir);
  t.is(claimInstance(a!, slots).firstTable, 0);
});

test('the tables of a folder that was removed are free', (t) => {
  const [slots, a, b] = folders(t, 3);
  claimInstance(a!, slots);
  rmSync(a!, { recursive: true });
  t.is(claimInstance(b!, slots).firstTable, 0);
});

test('more routers than there are ranges are refused', (t) => {
  const [slots, ...all] = folders(t, 34);
  for (const folder of all.slice(0, 32)) claimInstance(folder, slots);
  t.throws(() => claimInstance(all[32]!, slots), { code: 'HOST_OVERLAP' });
});

test('the name of a router follows from its folder', (t) => {
  const [a] = folders(t, 1);
  t.regex(instanceName(a!), /^[0-9a-f]{8}$/);
  t.is(instanceName(a!), instanceName(`${a!}/.`));
});
