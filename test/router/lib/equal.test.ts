import test from 'ava';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { isEqual } from '../../../router/lib/equal.ts';

test('values are compared by what they mean', (t) => {
  const f = (): void => undefined;
  const settings = (at: string) => ({
    at: Addr.parse(at),
    of: [Prefix.parse('10.0.0.0/8'), 2],
    key: new Uint8Array(2),
    f,
  });
  t.true(isEqual(settings('fe80::1'), settings('fe80:0::1')));
  t.false(isEqual(settings('fe80::1'), settings('fe80::2')));
  t.false(isEqual({ f }, { f: (): void => undefined }));
  t.true(isEqual({ a: undefined }, {}));
  t.false(isEqual({ a: undefined }, { b: 0 }));
  t.false(isEqual([1, 2], [1]));
  t.false(isEqual([1], { 0: 1, length: 1 }));
  t.false(isEqual(new Uint8Array([1]), new Uint8Array([2])));
  t.false(isEqual(Prefix.parse('10.0.0.0/8'), Prefix.parse('10.0.0.0/9')));
  t.false(isEqual(Addr.parse('10.0.0.0'), Prefix.parse('10.0.0.0/32')));
  t.false(isEqual(undefined, {}));
  t.false(isEqual(new Map([[1, 2]]), new Map([[1, 2]])), 'of what is not compared nothing is said to be equal');
});
