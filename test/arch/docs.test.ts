import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';

const ROOT = join(import.meta.dirname, '../../..');

for (const [what, script] of [
  ['the table of RFCs says what the code cites', 'docs/rfc-coverage.mjs'],
  ['the reference of the configuration says what its schema does', 'docs/config-keys.mjs'],
  ['the reference of JSON says what the commands print', 'docs/json.mjs'],
] as const)
  test(what, (t) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--check'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    t.is(status, 0, `${stdout}${stderr}`);
  });
