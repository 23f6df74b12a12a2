/** Arbitrary path attributes, for property tests. */

import fc from 'fast-check';
import type { Attributes, NextHop } from '../../../bgp/wire/attribute/model.ts';
import { Addr } from '../../../router/lib/addr.ts';

/** Plain objects, as the decoders make them. */
const PLAIN = { noNullPrototype: true } as const;
const word = fc.integer({ min: 0, max: 0xffffffff });
const asn = fc.integer({ min: 1, max: 0xffffffff });
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const lists = (unit: number, max: number): fc.Arbitrary<number[]> =>
  fc.array(word, { minLength: 0, maxLength: max }).map((l) => l.slice(0, l.length - (l.length % unit)));

/** @param isPlain without what a message from another AS cannot say */
export const anyAttributes = (isPlain: boolean): fc.Arbitrary<Attributes> =>
  fc.record(
    {
      origin: fc.nat(2),
      asPath: fc.oneof(
        fc.constant([]),
        fc.array(fc.array(asn, { minLength: 1, maxLength: 5 }), { maxLength: 3 }).map((segments) => {
          return segments.map((asns, i) => ({ type: isPlain || i % 3 !== 1 ? 2 : 1, asns }));
        }),
        fc.array(asn, { minLength: 70, maxLength: 90 }).map((asns) => [{ type: 2, asns }]),
      ),
      med: maybe(word),
      localPref: isPlain ? fc.constant(undefined) : maybe(word),
      atomicAggregate: fc.boolean(),
      aggregator: maybe(fc.record({ asn, identifier: word }, PLAIN)),
      communities: fc.oneof(lists(1, 8), fc.constant([0xffffff01, 5]), lists(1, 70)),
      extendedCommunities: lists(2, 6),
      largeCommunities: lists(3, 9),
      originatorId: isPlain ? fc.constant(undefined) : maybe(word),
      clusterList: isPlain ? fc.constant([]) : lists(1, 3),
      otc: maybe(word),
      unknown: fc.array(
        fc.record(
          {
            flags: fc.constant(0xe0),
            code: fc.integer({ min: 100, max: 120 }),
            value: fc.uint8Array({ maxLength: 6 }),
          },
          PLAIN,
        ),
        { maxLength: 1 },
      ),
    },
    PLAIN,
  );

export const anyHop: fc.Arbitrary<NextHop> = fc.nat(3).map((n) => ({
  global: n === 3 ? undefined : n === 2 ? Addr.parse('2001:db8::1')! : Addr.v4(0x0a000001 + n),
  linkLocal: n < 2 ? undefined : Addr.parse('fe80::1')!,
}));
