/** Nothing walks through all VPN routes in one turn, of which there may be a million: questions cost what they find, peers are told in steps. */
import test from 'ava';
import fc from 'fast-check';
import type { MonitoredSession } from '../../../bgp/monitor/monitor.ts';
import type { VpnPeer, VpnSender } from '../../../bgp/ports.ts';
import { Held, type HeldRoute } from '../../../bgp/vpn/held.ts';
import { readVpnNlri, type VpnName, vpnKey } from '../../../bgp/vpn/nlri.ts';
import { PrefixIndex, prefixesMeant } from '../../../bgp/vpn/prefix-index.ts';
import { importsOf } from '../../../bgp/vpn/vpn-explain.ts';
import { Feed } from '../../../bgp/vpn/vpn-feed.ts';
import { type VpnRoute, VpnTable } from '../../../bgp/vpn/vpn-table.ts';
import type { WireContext } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { decodeUpdate } from '../../../bgp/wire/update.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { PLAIN_CONTEXT } from '../kit/describe.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { openPeer, rd, roomOf, rt } from '../kit/vpn.ts';

const VPN_CONTEXT: WireContext = { ...PLAIN_CONTEXT, external: false, families: { vpnv4: PLAIN_FACTS } };

const p = (text: string): Prefix => Prefix.parse(text)!;
const red = { name: 'red', importTargets: [rt('64601:1')] };
const hop = { global: Addr.parse('10.0.0.9')!, linkLocal: undefined };
const sender: VpnSender = {
  name: 'p',
  address: Addr.parse('10.0.0.9')!,
  relation: 'internal',
  isClient: false,
  identifier: 9,
};
const peer: VpnPeer = {
  ...openPeer(sender),
  accepting: () => () => undefined,
  refusal: () => ({ bar: 'refused by the test', policy: undefined }),
};

/** Tables with routes that count how often a question looks at one of them. */
function tables() {
  let looks = 0;
  let number = 0;
  const table = new VpnTable();
  const held = new Held(peer);
  const looked = <T>(value: T): T => {
    looks++;
    return value;
  };
  const told = (distinguisher: string, prefix: string): void => {
    const name: VpnName = { rd: rd(distinguisher), prefix: p(prefix) };
    const bundle = { family: 'vpnv4', attributes: PLAIN_ATTRIBUTES, hop, from: sender, weight: 0 } as const;
    const rest = { vrf: undefined, label: 3, bundle, number: ++number, cost: 0 };
    const route: VpnRoute = Object.defineProperty({ name, ...rest }, 'name', { get: () => looked(name) });
    table.put(vpnKey(name), route);
  };
  const refused = (distinguisher: string, prefix: string): HeldRoute => {
    const name = { rd: rd(distinguisher), prefix: p(prefix), pathId: 0, label: 3 };
    const reached = { attributes: PLAIN_ATTRIBUTES, hop, octets: new Uint8Array(0) };
    const facts = { key: vpnKey(name), reached, number: ++number, accepted: undefined, vrfs: [], isLabelled: false };
    const rest = { ...facts, epoch: 0, isLongLived: false, sender };
    const route: HeldRoute = Object.defineProperty({ prefix: name, ...rest }, 'prefix', { get: () => looked(name) });
    held.put(route);
    return route;
  };
  const ask = (what: string) => {
    looks = 0;
    const found = importsOf(red, what.includes('/') ? p(what) : Addr.parse(what)!, [held], table);
    return { routes: found.map((i) => `${i.route.name.rd.low} ${i.route.name.prefix} ${i.bar}`).sort(), looks };
  };
  return { table, held, told, refused, ask };
}

test('what becomes of a prefix in a VRF is found without looking at the other routes', (t) => {
  const { told, refused, ask } = tables();
  for (let i = 0; i < 2000; i++) {
    told(`64601:${i % 7}`, `10.${i >> 8}.${i & 255}.0/24`);
    refused(`64602:${i % 7}`, `11.${i >> 8}.${i & 255}.0/24`);
  }
  told('64601:100', '10.1.2.0/24');
  refused('64601:101', '10.1.2.0/24');
  for (const what of ['10.1.2.0/24', '10.1.2.3']) {
    const { routes, looks } = ask(what);
    t.deepEqual(routes, ['100 10.1.2.0/24 target', '101 10.1.2.0/24 policy', '6 10.1.2.0/24 target']);
    t.true(looks < 30, `${looks} looks at 4,002 routes for the three of ${what}`);
  }
  t.deepEqual(ask('11.0.3.4').routes, ['3 11.0.3.0/24 policy']);
  t.deepEqual(ask('12.0.0.0/8').routes, []);
  t.deepEqual(ask('fd00::1').routes, []);
});

test('an address is that of the longest prefix, told or refused, and of the next one when that is gone', (t) => {
  const { table, held, told, refused, ask } = tables();
  told('64601:1', '0.0.0.0/0');
  told('64601:1', '10.0.0.0/8');
  const long = refused('64601:2', '10.1.0.0/16');
  t.deepEqual(ask('10.1.0.1').routes, ['2 10.1.0.0/16 policy']);
  held.delete(long);
  t.deepEqual(ask('10.1.0.1').routes, ['1 10.0.0.0/8 target']);
  const name = { rd: rd('64601:1'), prefix: p('10.0.0.0/8') };
  table.remove(vpnKey(name), 2);
  t.deepEqual(ask('10.1.0.1').routes, ['1 0.0.0.0/0 target']);
});

test('a route that policy lets pass from now on is a refused one no more', (t) => {
  const { held, refused, ask } = tables();
  const route = refused('64601:1', '10.0.0.0/8');
  held.put({ ...route, prefix: route.prefix, accepted: { attributes: PLAIN_ATTRIBUTES, hop, weight: 0 } });
  t.deepEqual(ask('10.0.0.1').routes, []);
  t.is(held.accepted.vpnv4, 1);
  held.put({ ...route, prefix: route.prefix });
  t.deepEqual(ask('10.0.0.1').routes, ['1 10.0.0.0/8 policy']);
  t.is(held.accepted.vpnv4, 0);
});

test('a peer that comes up is told a large table in steps, each prefix once, and none takes what the table holds', (t) => {
  const net = new SimNet(4364);
  const a: SimRouter = net.router('a', { asn: 64601, vpn: roomOf(64601, () => a, {}) });
  const b: SimRouter = net.router('b', { asn: 64601, vpn: roomOf(64601, () => b, {}) });
  net.join(a, b, { families: ['vpnv4'] });
  net.start();
  net.runUntil(() => a.session('b').state === 'Established');
  const [{ negotiated }] = [...a.speaker.sessions()] as [MonitoredSession];
  let looks = 0;
  const table = new VpnTable();
  const bundle = { family: 'vpnv4', attributes: PLAIN_ATTRIBUTES, hop, from: undefined, weight: 0 } as const;
  const put = (i: number): void => {
    const name = { rd: rd('64601:1'), prefix: p(`10.${i >> 8}.${i & 255}.0/24`) };
    const rest = { name, vrf: undefined, label: 3, number: i, cost: 0 };
    const get = () => {
      looks++;
      return bundle;
    };
    table.put(vpnKey(name), Object.defineProperty({ ...rest, bundle }, 'bundle', { get }));
  };
  for (let i = 0; i < 5000; i++) put(i);
  const telling: VpnPeer['telling'] = () => () => ({ attributes: PLAIN_ATTRIBUTES, hop: hop.global });
  const facts = { table, held: new Held(peer), isComplete: () => true, judgeAgain: () => undefined };
  const feed = new Feed(negotiated, { ...peer, sender: { ...sender, name: 'b' }, telling }, facts);
  const told: string[] = [];
  let ends = 0;
  for (let step = 0; feed.hasWork; step++) {
    looks = 0;
    if (step === 3) for (const i of [5000, 1]) put(i); // one comes, another one is told anew
    if (step === 3)
      for (const i of [5000, 1])
        feed.touch(vpnKey({ rd: rd('64601:1'), prefix: p(`10.${i >> 8}.${i & 255}.0/24`) }), 'vpnv4');
    feed.pull(100, (octets) => {
      const u = decodeUpdate(octets.subarray(19), VPN_CONTEXT);
      if ('handling' in u) throw new Error(u.words);
      const { reach } = u.vpn!;
      if (reach === undefined) ends++;
      else told.push(...readVpnNlri(reach.subarray(5 + reach[3]!), 4, false)!.map((n) => String(n.prefix)));
    });
    t.true(looks < 1000, `${looks} looks in step ${step}`);
    t.true(step < 100);
  }
  t.is(ends, 1);
  t.is(new Set(told).size, 5001);
  t.is(told.length, 5002, 'one of them changed after it was told');
});

test('an index knows after any changes what a list would', (t) => {
  const prefixes = ['10.0.0.0/8', '10.0.0.0/16', 'fd00::/8'].map(p);
  const change = fc.record({ add: fc.boolean(), at: fc.nat(2), item: fc.constantFrom('a', 'b', 'c') });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const index = new PrefixIndex<string>();
      const lists = prefixes.map(() => [] as string[]);
      for (const { add, at, item } of changes) {
        if (add) index.add(prefixes[at]!, item);
        else index.delete(prefixes[at]!, item);
        lists[at] = lists[at]!.filter((known) => known !== item || add);
        if (add && !lists[at]!.includes(item)) lists[at]!.push(item);
      }
      for (const [i, prefix] of prefixes.entries()) {
        t.deepEqual([...index.at(prefix)].sort(), [...lists[i]!].sort());
        t.is(index.has(prefix), lists[i]!.length > 0);
      }
    }),
    { seed: 4364 },
  );
  t.deepEqual([...prefixesMeant(Addr.parse('10.0.0.1')!)].slice(-2).map(String), ['0.0.0.0/1', '0.0.0.0/0']);
  t.is([...prefixesMeant(Addr.parse('fd00::1')!)].length, 129);
});
