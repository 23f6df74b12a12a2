/** Rules and flows of every kind, few enough values that they meet: for properties of what decides by rules. */
import fc from 'fast-check';
import type { Addr, Prefix } from '../../../router/lib/addr.ts';
import type { RuleMatch } from '../../../router/uplink/rule.ts';
import { addr, port, prefix } from './kit.ts';

const anyAddr: fc.Arbitrary<Addr> = fc.oneof(
  fc.integer({ min: 0, max: 15 }).map((n) => addr(`10.0.${n >> 2}.${n & 3}`)),
  fc.integer({ min: 0, max: 7 }).map((n) => addr(`fd00:${n >> 1}::${n & 1}`)),
);
const anyPrefix: fc.Arbitrary<Prefix> = fc.constantFrom(
  ...['10.0.0.0/8', '10.0.0.0/22', '10.0.1.0/24', '10.0.1.2/31', '10.0.1.2/32', '0.0.0.0/0', '::/0', 'fd00::/8'].map(
    prefix,
  ),
  ...['fd00:1::/32', 'fd00:1::1/128', 'fd00:2::/31'].map(prefix),
);
const anyPorts = fc
  .tuple(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 4 }))
  .map(([a, n]) => port(a * 5000, Math.min(65535, (a + n) * 5000)));
const some = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constant<T[]>([]) },
    { weight: 2, arbitrary: fc.array(one, { minLength: 1, maxLength: 3 }) },
  );
export const NAMES = ['example.org', 'www.example.org', 'a.www.example.org', 'other.net'];
/** A name, and an address that an answer told of it. */
export const anyNamed = fc.tuple(fc.constantFrom(...NAMES), anyAddr);
export const anyMatch: fc.Arbitrary<RuleMatch> = fc.record({
  apps: some(fc.constantFrom('curl', '/usr/**', 'cur?-*', '/usr/*')),
  groups: some(fc.constantFrom('wifi', 'lan')),
  users: some(fc.constantFrom(0, 1000)),
  cgroups: some(fc.constantFrom('/', '/a.slice', '/*/b.service')),
  protocols: some(fc.constantFrom(1, 6, 17)),
  to: some(anyPrefix),
  ports: some(anyPorts),
  domains: some(fc.constantFrom('example.org', '*.example.org', 'www.example.org', '*.net')),
  from: some(anyPrefix),
});
/** `app` is the number of one of three processes. */
export const anyFlow = fc.record({
  app: fc.nat(2),
  protocol: fc.constantFrom(1, 6, 17),
  to: anyAddr,
  port: fc.integer({ min: 0, max: 65535 }),
  from: fc.option(anyAddr, { nil: undefined }),
});
