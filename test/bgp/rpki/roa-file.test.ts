import test from 'ava';
import fc from 'fast-check';
import { parseRoas, RoaFileError, RoaFileReader } from '../../../bgp/rpki/roa-file.ts';
import type { VrpList } from '../../../bgp/rpki/vrp.ts';
import { birdText, dn42Json, registryRoas, rpkiClientJson } from '../kit/roas.ts';

const ROAS = registryRoas();
const EXPECTED = ROAS.map((r) => `${r.prefix} ${r.maxLength} ${r.asn}`);

const texts = (list: VrpList): string[] =>
  Array.from({ length: list.size }, (_, i) => `${list.prefix(i)} ${list.maxLength(i)} ${list.asn(i)}`);

test('the forms in use say the same', (t) => {
  for (const form of [dn42Json, rpkiClientJson, birdText])
    t.deepEqual(texts(parseRoas(form(ROAS))), EXPECTED, form.name);
});

test('it does not matter how the text was cut', (t) => {
  const few = ROAS.slice(0, 20);
  for (const form of [dn42Json, rpkiClientJson, birdText]) {
    const text = form(few);
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 40 }), (cuts) => {
        const reader = new RoaFileReader();
        let at = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), text.length]) {
          reader.push(text.slice(at, cut));
          at = cut;
        }
        t.deepEqual(texts(reader.end()), EXPECTED.slice(0, 20));
      }),
      { seed: 8210, numRuns: 60 },
    );
  }
});

test('a ROA without maxLength means its own length, and AS 0 is an AS', (t) => {
  const list = parseRoas(
    '{"roas":[{"prefix":"172.20.0.0/24","asn":"AS0"},{"asn":"64501","prefix":"fd42::/48","x":{"y":[1]}}]}',
  );
  t.deepEqual(texts(list), ['172.20.0.0/24 24 0', 'fd42::/48 48 64501']);
});

test('an empty list of ROAs is a list', (t) => {
  t.is(parseRoas('{"roas": []}').size, 0);
});

test('mistakes are told with their line', (t) => {
  const cases: readonly [string, number, RegExp][] = [
    ['', 1, /empty/],
    ['{"roas":[', 1, /cut short/],
    ['{"metadata":{}}', 1, /no list "roas"/],
    ['{"roas": 7}', 1, /not a list/],
    ['{"roas": "x"}', 1, /not a list/],
    ['{"roas":\n{"a":1}}', 2, /not a list/],
    ['{"roas":[\n1\n]}', 2, /expected a ROA/],
    ['{"roas":[\n["x"]\n]}', 2, /expected a ROA/],
    ['{"roas":[]}\n{', 2, /follows the end/],
    ['{"roas":[\n\n{"prefix":"172.20.0.0/24","asn":1,}]}', 3, /JSON|property/],
    ['{"roas":[{"asn":1}]}', 1, /without "prefix"/],
    ['{"roas":[{"prefix":"172.20.0.0/24","asn":-1}]}', 1, /"-1" is not an AS/],
    ['{"roas":[{"prefix":"172.20.0.0/24","asn":"AS4294967296"}]}', 1, /not an AS/],
    ['{"roas":[{"prefix":"172.20.0.0/24"}]}', 1, /not an AS/],
    ['{"roas":[{"prefix":"172.20.0.1/24","asn":1}]}', 1, /host bits/],
    ['{"roas":[{"prefix":"172.20.0.0","asn":1}]}', 1, /not a prefix/],
    ['{"roas":[{"prefix":"172.20.0.0/24","maxLength":23,"asn":1}]}', 1, /24-32/],
    ['{"roas":[{"prefix":"fd42::/48","maxLength":129,"asn":1}]}', 1, /48-128/],
    ['{"roas":[{"prefix":"fd42::/48","maxLength":"48","asn":1}]}', 1, /48-128/],
    ['route 172.20.0.0/24 max 24 as 1;\nroute 172.20.0.0/24 max as 1;', 2, /expected "route/],
    ['# nothing\n\nroute 172.20.0.0/24 max 24 as 1', 3, /expected "route/],
    ['<html>', 1, /expected "route/],
  ];
  for (const [text, line, words] of cases) {
    const error = t.throws(() => parseRoas(text), { instanceOf: RoaFileError }, text);
    t.regex(error.message, words, text);
    t.is(error.line, line, text);
    t.true(error.message.startsWith(`line ${line}: `), text);
  }
});

test('a list that never ends its item is given up', (t) => {
  const reader = new RoaFileReader();
  reader.push('{"roas":[{"prefix":"');
  t.throws(
    () => {
      for (let i = 0; i < 100; i++) reader.push('x'.repeat(4096));
    },
    { instanceOf: RoaFileError, message: /no ROA is this long/ },
  );
});
