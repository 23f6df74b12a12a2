import test from 'ava';
import { PathPattern } from '../../../bgp/policy/path-pattern.ts';

const CASES: readonly (readonly [pattern: string, path: readonly number[], matches: boolean])[] = [
  ['', [], true],
  ['', [1], false],
  ['*', [], true],
  ['*', [1, 2, 3], true],
  ['+', [], false],
  ['+', [1], true],
  ['?', [1], true],
  ['?', [1, 2], false],
  ['1 2', [1, 2], true],
  ['1 2', [1, 2, 3], false],
  ['1 * 3', [1, 3], true],
  ['1 * 3', [1, 2, 2, 3], true],
  ['1 * 3', [1, 3, 4], false],
  ['* 2 *', [2], true],
  ['* 2 *', [1, 2, 3], true],
  ['* 2 *', [1, 3], false],
  ['? ? *', [1], false],
  ['* 4242420000..4242429999 ?', [1, 4242421234, 5], true],
  ['* 4242420000..4242429999 ?', [1, 4242430000, 5], false],
  ['{1|5..7} *', [6, 9], true],
  ['{1|5..7} *', [4, 9], false],
  ['* 1 + 1 *', [1, 1], false],
  ['* 1 + 1 *', [9, 1, 2, 1], true],
];

for (const [text, asns, expected] of CASES) {
  test(`"${text}" ${expected ? 'matches' : 'does not match'} "${asns.join(' ')}"`, (t) => {
    const pattern = PathPattern.parse(text);
    if (typeof pattern === 'string') return t.fail(pattern);
    t.is(pattern.matches(asns.length === 0 ? [] : [{ type: 2, asns }]), expected);
  });
}

test('a pattern runs over segment borders', (t) => {
  const pattern = PathPattern.parse('1 2 3') as PathPattern;
  t.true(
    pattern.matches([
      { type: 2, asns: [1] },
      { type: 2, asns: [2, 3] },
    ]),
  );
});

test('what is no pattern is refused with its word', (t) => {
  for (const [text, word] of [
    ['1 ** 2', '**'],
    ['5..1', '5..1'],
    ['4294967296', '4294967296'],
    ['{1|x}', '{1|x}'],
    ['1,2', '1,2'],
  ] as const) {
    t.regex(String(PathPattern.parse(text)), new RegExp(`^"${word.replace(/[.*|{}]/g, '\\$&')}"`));
  }
});

test('a pattern full of stars takes no longer than its length times the path', (t) => {
  const pattern = PathPattern.parse(`${'* 1 '.repeat(40)}2`) as PathPattern;
  t.false(pattern.matches([{ type: 2, asns: new Array(255).fill(1) }]));
});
