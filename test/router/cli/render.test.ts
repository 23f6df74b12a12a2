import test from 'ava';
import { hanging, textTable, wrap } from '../../../router/cli/render.ts';

const LONG = 'word '.repeat(18).trim();

test('text that does not fit beside the other columns stands below its row, the first row included', (t) => {
  const rows = [
    ['a', '1', LONG],
    ['bb', '22', 'short'],
  ];
  const below = `    ${'word '.repeat(15).trim()}\n    word word word`;
  t.is(textTable(undefined, rows), `a   1\n${below}\nbb  22  short`);
  t.is(textTable(['X', 'Y', 'WHY'], rows), `X   Y   WHY\na   1\n${below}\nbb  22  short`);
});

test('a title that does not fit is left out, its texts are not', (t) => {
  const wide = 'w'.repeat(74);
  t.is(textTable(['X', 'Y', 'LAST ERROR'], [[wide, '1', 'refused']]), `${'X'.padEnd(76)}Y\n${wide}  1\n    refused`);
});

test('words are wrapped, longer ones have a line of their own', (t) => {
  t.deepEqual(wrap(['aa', 'bb', 'cccccccc', 'd'], 5), ['aa bb', 'cccccccc', 'd']);
  t.deepEqual(wrap(['aa', 'bb', 'cc'], 5, 2), ['aa', 'bb cc']);
});

test('text behind a mark goes on below itself, behind a comma where that is possible', (t) => {
  const parts = ['x'.repeat(60), 'y'.repeat(15), 'z'];
  t.is(hanging('  > ', parts.join(', ')), `  > ${parts[0]},\n      ${parts[1]}, z\n`);
  t.is(hanging('- ', LONG), `- ${'word '.repeat(15).trim()}\n    word word word\n`);
  for (const line of hanging('mark ', `${LONG}; ${LONG}`).split('\n')) t.true(line.length <= 80);
});
