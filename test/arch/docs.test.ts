import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';

const ROOT = join(import.meta.dirname, '../../..');

test('the table of RFCs says what the code cites', (t) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['docs/rfc-coverage.mjs', '--check'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  t.is(status, 0, `${stdout}${stderr}`);
});
