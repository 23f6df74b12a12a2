import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';

const DEMO = join(import.meta.dirname, '../../../router/cli/demo.js');

const missing = ['curl', 'python3'].filter(
  (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error !== undefined,
);

(missing.length === 0 ? test : test.skip)(
  `the demonstration ends with matching checksums and leaves nothing ${missing.join()}`,
  (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
    chmodSync(dir, 0o755); // root's demonstration goes on as nobody below it
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    const { status, stdout, stderr } = spawnSync(process.execPath, [DEMO], {
      encoding: 'utf8',
      env: { ...process.env, TMPDIR: dir },
      timeout: 60_000,
    });
    t.is(status, 0, stdout + stderr);
    t.is(stderr, '');
    t.is([...stdout.matchAll(/sha256 \w+\.\.\. matches/g)].length, 2);
    t.regex(stdout, /AS path 4200000002 4200000003/);
    t.deepEqual(readdirSync(dir), []);
  },
);
