import test from 'ava';
import { BgpLinks } from '../../../router/app/bgp-links.ts';
import { BY_ROUTING } from '../../../router/app/bgp-peers.ts';
import { RibToFib } from '../../../router/app/rib-to-fib.ts';
import { RouteKind, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { Cable, SimNet } from '../../bgp/kit/net.ts';

const LINKS = [
  { index: 2, name: 'a', mtu: 1420, addresses: ['10.0.0.2/24', 'fe80::1/64'], vrf: 0 },
  { index: 3, name: 'b', mtu: 1420, addresses: ['10.1.0.2/32'], vrf: 0 },
];

interface Row {
  readonly to: string;
  readonly source: RouteSource;
  readonly link: number;
  readonly gateway?: string;
}

/** @param recursive prefixes whose BGP route was itself found in the table */
function linksWith(routes: readonly Row[], recursive: readonly string[] = []): BgpLinks {
  const fib = new FibWriter();
  fib.apply(
    routes.map(({ to, source, link, gateway }) => ({
      vrf: 0,
      prefix: Prefix.parse(to)!,
      source,
      kind: RouteKind.Unicast,
      nextHops: [{ link, gateway: gateway === undefined ? undefined : Addr.parse(gateway) }],
    })),
  );
  const links = new BgpLinks(0, LINKS, fib, () => undefined);
  links.isRecursive = (prefix) => recursive.includes(String(prefix));
  for (const l of LINKS) links.linkState(l.name, true);
  return links;
}

function resolved(links: BgpLinks, address: string, link: string, isElsewhere = false): string {
  const via = links.resolve(Addr.parse(address)!, link, isElsewhere);
  return via === undefined ? 'nowhere' : `${via.address} via ${via.link} at ${via.cost}`;
}

const STATIC = { to: '10.9.0.0/16', source: RouteSource.Static, link: 2, gateway: '10.0.0.1' };
const DEFAULT = { to: '0.0.0.0/0', source: RouteSource.Static, link: 3 };

test('a neighbour on an uplink needs no route', (t) => {
  t.is(resolved(linksWith([STATIC]), '10.9.1.1', 'b'), '10.9.1.1 via b at 0');
});

test('the next hop of a peer reached by routing is found in the table', (t) => {
  const links = linksWith([STATIC, DEFAULT]);
  t.is(resolved(links, '10.9.1.1', BY_ROUTING), '10.0.0.1 via a at 1');
  t.is(resolved(links, '10.8.1.1', BY_ROUTING), '10.8.1.1 via b at 1', 'also by the default route');
  t.is(resolved(linksWith([STATIC]), '10.8.1.1', BY_ROUTING), 'nowhere');
  t.is(resolved(links, 'fe80::9', BY_ROUTING), 'nowhere', 'nobody knows on which link');
  links.linkState('a', false);
  t.is(resolved(links, '10.9.1.1', BY_ROUTING), 'nowhere', 'its route is there, its link is not');
});

test('a route that was found in the table itself is passed over for the next shorter one', (t) => {
  const own = { to: '10.9.1.0/24', source: RouteSource.Ibgp, link: 3, gateway: '10.1.0.9' };
  t.is(resolved(linksWith([STATIC, own], ['10.9.1.0/24']), '10.9.1.1', BY_ROUTING), '10.0.0.1 via a at 1');
  t.is(
    resolved(linksWith([STATIC, own]), '10.9.1.1', BY_ROUTING),
    '10.1.0.9 via b at 1',
    'a route of a neighbour serves',
  );
  t.is(resolved(linksWith([own], ['10.9.1.0/24']), '10.9.1.1', BY_ROUTING), 'nowhere', 'it cannot hold itself up');
});

test('what an internal peer names is looked for in the table, and found on its uplink otherwise', (t) => {
  const links = linksWith([STATIC, DEFAULT]);
  t.is(resolved(links, '10.9.1.1', 'b', true), '10.0.0.1 via a at 1');
  t.is(resolved(links, '10.8.1.1', 'a', true), '10.8.1.1 via a at 0', 'the default route says nothing about it');
  t.is(resolved(links, 'fe80::9', 'a', true), 'fe80::9 via a at 0');
});

test('the next hops of a route share what is found by it; those of links that are down have no part', (t) => {
  const fib = new FibWriter();
  const links = new BgpLinks(0, LINKS, fib, () => undefined);
  const sink = new RibToFib(
    fib,
    (name) => links.indexOf(name),
    () => links.tableChanged(),
  );
  const [viaA, viaB] = [Addr.parse('10.0.0.1')!, Addr.parse('10.1.0.1')!];
  fib.apply([
    {
      vrf: 0,
      prefix: Prefix.parse('10.1.1.0/24')!,
      source: RouteSource.Static,
      kind: RouteKind.Unicast,
      nextHops: [
        { link: 2, gateway: viaA },
        { link: 3, gateway: viaB, weight: 2 },
      ],
    },
  ]);
  const net = new SimNet(1);
  const a = net.router('a', { asn: 64601, speaker: { resolver: links, sink } });
  const b = net.router('b', { asn: 64601, networks: ['10.128.0.0/9'] });
  const ends = [Addr.parse('fe80::1:1')!, Addr.parse('fe80::1:2')!] as const;
  const cable = new Cable(BY_ROUTING, [a, b], ends);
  for (const cables of [net.cables, a.cables, b.cables]) cables.push(cable);
  const common = { link: BY_ROUTING, asn: 64601, extendedNextHop: false };
  a.addPeer({ ...common, name: 'b', address: ends[1], multihop: true });
  b.addPeer({ ...common, name: 'a', address: ends[0], nextHop4: Addr.parse('10.1.1.1')! });
  const used = () =>
    fib.exactRoute(0, Prefix.parse('10.128.0.0/9')!)[0]?.nextHops.map((h) => `${h.gateway} ${h.link} ${h.weight ?? 1}`);

  for (const { name } of LINKS) links.linkState(name, true);
  net.start();
  net.run(10_000);
  t.deepEqual(used(), ['10.0.0.1 2 1', '10.1.0.1 3 2']);
  links.linkState('a', false);
  net.run(1_000);
  t.deepEqual(used(), ['10.1.0.1 3 1'], 'one of a group of one has no weight to speak of');
  links.linkState('a', true);
  net.run(1_000);
  t.deepEqual(used(), ['10.0.0.1 2 1', '10.1.0.1 3 2']);
  links.stop();
});

for (const isAtOnce of [false, true]) {
  test(`a link that comes back with another number is another link${isAtOnce ? ', also within one reload' : ''}`, (t) => {
    const link = (name: string, index: number) => ({ index, name, mtu: 1420, addresses: [], vrf: 0 });
    const fib = new FibWriter();
    const gateway = Addr.parse('fe80::9')!;
    const towards = (index: number | undefined): void =>
      fib.apply([
        {
          vrf: 0,
          prefix: Prefix.parse('10.1.1.0/24')!,
          source: RouteSource.Static,
          nextHops: index === undefined ? undefined : [{ link: index, gateway }],
        },
      ]);
    const links = new BgpLinks(0, [link('x', 7)], fib, () => undefined);
    const sink = new RibToFib(
      fib,
      (name) => links.indexOf(name),
      () => undefined,
    );
    const net = new SimNet(1);
    const a = net.router('a', { asn: 64601, speaker: { resolver: links, sink } });
    const b = net.router('b', { asn: 64601, networks: ['10.128.0.0/9'] });
    links.onRenumbered = () => sink.forget();
    links.isRecursive = (prefix) => a.speaker.isRecursive(prefix);
    const ends = [Addr.parse('fe80::1:1')!, Addr.parse('fe80::1:2')!] as const;
    const cable = new Cable(BY_ROUTING, [a, b], ends);
    for (const cables of [net.cables, a.cables, b.cables]) cables.push(cable);
    const common = { link: BY_ROUTING, asn: 64601, extendedNextHop: false };
    a.addPeer({ ...common, name: 'b', address: ends[1], multihop: true });
    b.addPeer({ ...common, name: 'a', address: ends[0], nextHop4: Addr.parse('10.1.1.1')! });
    const used = () => fib.exactRoute(0, Prefix.parse('10.128.0.0/9')!)[0]?.nextHops.map((h) => h.link);

    towards(7);
    links.linkState('x', true);
    net.start();
    net.run(10_000);
    t.deepEqual(used(), [7]);
    if (!isAtOnce) {
      towards(undefined);
      links.setLinks([]);
      net.run(1000);
      t.deepEqual(used() ?? [], []);
      links.setLinks([link('y', 7)]);
      links.linkState('y', true);
      net.run(1000);
    }
    towards(8);
    links.setLinks([link('y', 7), link('x', 8)]);
    links.linkState('x', true);
    net.run(1000);
    t.deepEqual(used(), [8]);
  });
}
