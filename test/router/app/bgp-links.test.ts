import test from 'ava';
import { BgpLinks } from '../../../router/app/bgp-links.ts';
import { BY_ROUTING } from '../../../router/app/bgp-peers.ts';
import { RouteKind, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

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
