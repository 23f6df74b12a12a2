import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { filterDigest, filterFiles } from '../../../router/config/filter-digest.ts';

test('a digest is of the module and of the files it names, however far', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const write = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  mkdirSync(join(dir, 'lib'));
  const main = write(
    'main.mjs',
    `import { a } from './lib/a.mjs';
import { readFileSync } from 'node:fs';
const list = JSON.parse(readFileSync(new URL("./list.json", import.meta.url)));
const other = await import('./lib/a.mjs?again');
import './gone.mjs';
import '../';
`,
  );
  const a = write('lib/a.mjs', "export * from './b.mjs'; import '../main.mjs';");
  const b = write('lib/b.mjs', 'export const a = 1;');
  const list = write('list.json', '{ "./lib": 1 }');
  const stranger = write('stranger.mjs', '');
  t.deepEqual([...filterFiles(main)].sort(), [main, a, b, list].sort());
  const before = filterDigest(main);
  t.regex(before, /^[0-9a-f]{16}$/);
  t.is(filterDigest(main), before);
  writeFileSync(stranger, 'x');
  t.is(filterDigest(main), before);
  const seen = new Set([before]);
  for (const file of [main, a, b, list]) {
    appendFileSync(file, ' ');
    seen.add(filterDigest(main));
  }
  t.is(seen.size, 5);
  t.deepEqual(filterFiles(join(dir, 'nowhere.mjs')), []);
  t.regex(filterDigest(join(dir, 'nowhere.mjs')), /^[0-9a-f]{16}$/);
});
