import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { writeAddress } from '../../../../router/kernel/netlink/address.ts';
import { writeLink, writeNewLink } from '../../../../router/kernel/netlink/link.ts';
import {
  decodeRoute,
  type NewRoute,
  writeRoute,
  writeRouteAgain,
  writeRouteKey,
} from '../../../../router/kernel/netlink/route.ts';
import { decodeRule, type HostRule, ruleIdentity, writeRule } from '../../../../router/kernel/netlink/rule.ts';
import { Addr, Prefix } from '../../../../router/lib/addr.ts';
import { attributeList, NetlinkWriter, NLMSG_HEADER, RTMSG, wordsOf } from '../../../../router/wire/netlink.ts';

interface Sent {
  readonly name: string;
  readonly command: string;
  readonly sent: string;
}

const FILE = join(import.meta.dirname, '../../../../../test/golden/netlink/iproute2-6.1.0.json');
const ALL = JSON.parse(readFileSync(FILE, 'utf8')) as Sent[];

/** Octets of the fixed part by message type divided by four: links, addresses, routes, neighbours, rules. */
const FIXED = [0, 0, 0, 0, 16, 8, RTMSG, 12, 12];
const ROUTE = { table: 51001, protocol: 116, metric: 20, type: 'unicast' as const };
const via = (gateway: string | undefined, ifindex = 11, weight = 1) => ({
  ifindex,
  gateway: gateway === undefined ? undefined : Addr.parse(gateway)!,
  weight,
});
const route = (prefix: string, change: Partial<NewRoute>): NewRoute => ({
  ...{ ...ROUTE, prefix: Prefix.parse(prefix)!, hops: [] },
  ...change,
});
const RULE = {
  ...{ family: 4 as const, priority: 31001, from: undefined, oif: undefined, fwmark: 0 },
  ...{ table: 51001, isL3mdev: false, protocol: 116 },
};

const RULES: Readonly<Record<string, HostRule>> = {
  'rule-from': { ...RULE, from: Prefix.parse('10.0.0.2/32') },
  'rule-oif': { ...RULE, family: 6, oif: 'eth1' },
  'rule-fwmark': { ...RULE, fwmark: 0x6d6c0001 },
  'rule-l3mdev': { ...RULE, isL3mdev: true, table: 0, priority: 1000, protocol: 2 },
};

const ROUTES: Readonly<Record<string, NewRoute>> = {
  route4: route('10.20.0.0/16', { hops: [via('10.0.0.1')] }),
  'route4-via6': route('10.21.0.0/16', { hops: [via('fe80::1')] }),
  route6: route('fd20::/32', { hops: [via('fd00::1')] }),
  'route4-device': route('10.24.0.0/16', { hops: [via(undefined)] }),
  multipath4: route('10.22.0.0/16', { hops: [via('10.0.0.1', 11, 3), via('fe80::2', 12)] }),
  blackhole4: route('10.23.0.0/16', { type: 'blackhole' }),
  unreachable6: route('fd23::/32', { type: 'unreachable' }),
};

const WRITERS: Readonly<Record<string, (w: NetlinkWriter) => void>> = {
  vrf: (w) => writeNewLink(w, 'mlv-a', { vrfTable: 51001 }),
  wireguard: (w) => writeNewLink(w, 'mlw-a', 'wireguard'),
  enslave: (w) => writeLink(w, 11, 'eth1', { master: 12 }),
  'mtu-up': (w) => writeLink(w, 11, 'eth1', { isUp: true, mtu: 1400 }),
  address4: (w) => writeAddress(w, 11, Addr.parse('10.9.0.1')!, 32),
  address6: (w) => writeAddress(w, 11, Addr.parse('fd09::1')!, 128),
  ...Object.fromEntries(Object.entries(ROUTES).map(([name, r]) => [name, (w: NetlinkWriter) => writeRoute(w, r)])),
  'delete-route4': (w) => writeRouteKey(w, route('10.20.0.0/16', {})),
  ...Object.fromEntries(Object.entries(RULES).map(([name, r]) => [name, (w: NetlinkWriter) => writeRule(w, r)])),
  'delete-link': (w) => writeLink(w, 12, 'eth2'),
};

/** A message as its fixed part and its attributes in the order of their types. */
function normal(message: Uint8Array): string[] {
  const type = wordsOf(message).getUint16(4, true);
  const start = NLMSG_HEADER + FIXED[type >> 2]!;
  const list = [...attributeList(message, start)].map(([t, v]) => `${t}: ${Buffer.from(v!).toString('hex')}`);
  return [Buffer.from(message.subarray(NLMSG_HEADER, start)).toString('hex'), ...list.sort()];
}

test('every captured command has an encoder here', (t) => {
  t.deepEqual(Object.keys(WRITERS).sort(), ALL.map((s) => s.name).sort());
});

for (const { name, command, sent } of ALL)
  test(`we say to the kernel what iproute2 says for "${command}"`, (t) => {
    const theirs = new Uint8Array(Buffer.from(sent, 'hex'));
    const words = wordsOf(theirs);
    const w = new NetlinkWriter();
    w.begin(words.getUint16(4, true), words.getUint16(6, true), words.getUint32(8, true));
    WRITERS[name]!(w);
    w.end();
    t.deepEqual(normal(w.octets), normal(theirs));
    t.is(w.length, theirs.length);
  });

for (const [name, expected] of Object.entries(ROUTES))
  test(`a route is read from iproute2's ${name}, and said again as it was`, (t) => {
    const message = new Uint8Array(Buffer.from(ALL.find((s) => s.name === name)!.sent, 'hex'));
    const { message: _, source, type, ...read } = decodeRoute(message)!;
    const { type: kind, ...rest } = expected;
    t.is(source, undefined);
    t.is(type, { unicast: 1, blackhole: 6, unreachable: 7, prohibit: 8 }[kind]);
    t.deepEqual(read, rest);
    const w = new NetlinkWriter();
    w.begin(24, 0, 0);
    writeRouteAgain(w, decodeRoute(message)!);
    w.end();
    t.deepEqual(normal(w.octets), normal(message));
  });

test('a route is said again for another table, over one of its interfaces, as of another protocol', (t) => {
  const message = new Uint8Array(Buffer.from(ALL.find((s) => s.name === 'multipath4')!.sent, 'hex'));
  const w = new NetlinkWriter();
  w.begin(24, 0, 0);
  writeRouteAgain(w, decodeRoute(message)!, { table: 254, onlyOver: 11, protocol: 4 });
  w.end();
  const { message: _, ...read } = decodeRoute(w.octets)!;
  t.like(read, { table: 254, protocol: 4, metric: 20 });
  t.deepEqual(read.hops, [via('10.0.0.1')]);
  t.is(w.octets[NLMSG_HEADER + 8], 4, 'on-link stays');
});

for (const [name, expected] of Object.entries(RULES))
  test(`a rule is read from iproute2's ${name}`, (t) => {
    const message = new Uint8Array(Buffer.from(ALL.find((s) => s.name === name)!.sent, 'hex'));
    t.deepEqual(decodeRule(message), expected);
    t.is(ruleIdentity(decodeRule(message)!), ruleIdentity(expected));
  });
