import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { OctetsOut } from '../../../router/cli/octets-out.ts';

test('many octets reach a file, and what waited for room waits no more', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-octets-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const warnings: string[] = [];
  const onWarning = (w: Error): void => void warnings.push(w.name);
  process.on('warning', onWarning);
  t.teardown(() => process.off('warning', onWarning));
  const path = join(folder, 'out');
  const out = new OctetsOut(path);
  const part = new Uint8Array(100_000).fill(7);
  for (let i = 0; i < 40; i++) await out.write(part);
  await out.end();
  await new Promise(setImmediate); // warnings are told in a tick of their own
  t.is(readFileSync(path).length, 4_000_000);
  t.deepEqual(warnings, []);
});

test('a file that cannot be written is an error at its end, not a wait for ever', async (t) => {
  const out = new OctetsOut('/dev/full');
  for (let i = 0; i < 40; i++) await out.write(new Uint8Array(100_000));
  await t.throwsAsync(out.end(), { message: /cannot write \/dev\/full: .*ENOSPC/ });
});
