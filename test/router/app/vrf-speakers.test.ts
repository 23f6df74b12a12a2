/** The speakers of VRFs have the same settings as the main one, and no name of theirs stands in a user's way. */
import test from 'ava';
import { type MonitoredSession, RoaTable, type VpnPeer, VrpList } from '../../../bgp/speaker.ts';
import { distinguisherText, parseDistinguisher, parseRouteTarget } from '../../../bgp/vpn/route-distinguisher.ts';
import { isReachable } from '../../../bgp/vpn/vpn-table.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import type { StreamPort } from '../../../router/app/bgp-transport.ts';
import type { RoutingLink, RoutingVrf } from '../../../router/app/routing-protocol.ts';
import { VrfSpeakers } from '../../../router/app/vrf-speakers.ts';
import { toBgp } from '../../../router/config/bgp-load.ts';
import type { BgpConfig } from '../../../router/config/bgp-model.ts';
import { bgp as bgpSchema } from '../../../router/config/bgp-schema.ts';
import { crossTo, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { until } from '../../bgp/kit/bird.ts';
import { hex } from '../../bgp/kit/describe.ts';
import { openPeer } from '../../bgp/kit/vpn.ts';
import { fibRoutes } from '../../kit/fib-routes.ts';

const NETWORK = Prefix.parse('192.168.1.0/24')!;
const target = parseRouteTarget('64601:100')!;

interface Parts {
  readonly roas?: RoaTable;
  readonly fib?: FibWriter;
  /** More VRFs, which import what red exports. */
  readonly importers?: readonly string[];
  /** Told of what listeners are opened and closed: their VRF and port. */
  readonly listeners?: Map<number, string>;
  readonly links?: readonly RoutingLink[];
}

const LINK: RoutingLink = { index: 2, name: 'a', vrf: 1, mtu: 1420, addresses: ['10.1.0.1/30'] };
const RED: RoutingVrf = {
  name: 'red',
  number: 1,
  config: {
    name: 'red',
    rd: parseDistinguisher('64601:1')!,
    importTargets: [target],
    exportTargets: [target],
    networks: [{ prefix: NETWORK }],
  },
};

/** A VRF that imports what red exports. */
const importer = (name: string, number: number): RoutingVrf => ({
  name,
  number,
  config: {
    name,
    rd: parseDistinguisher(`64601:${number}`)!,
    importTargets: [target],
    exportTargets: [],
    networks: [],
  },
});

const settingsOf = (bgp: object): BgpConfig =>
  toBgp(bgpSchema.parse({ asn: 64601, router_id: '10.0.0.1', ...bgp }), '/nowhere/mlshim.yaml', () => 'wireguard');

function speakers(
  bgp: object,
  { roas = new RoaTable(), fib = new FibWriter(), importers = [], listeners, links = [LINK] }: Parts = {},
): VrfSpeakers {
  const port = (vrf: number): StreamPort => ({
    connect: () => undefined!,
    listen: (id, port) => void listeners?.set(id, `${vrf}:${port}`),
    secure: () => undefined,
    unlisten: (id) => void listeners?.delete(id),
  });
  return new VrfSpeakers({
    settings: settingsOf(bgp),
    vrfs: [RED, ...importers.map((name, i) => importer(name, 2 + i))],
    links,
    fib,
    random: () => 0.5,
    filters: new Map(),
    roas,
    port,
    sourceTo: () => undefined,
    changed: () => undefined,
    onEvent: () => undefined,
    restarting: undefined,
    onError: () => undefined,
    wake: () => undefined,
  });
}

test('a peer may be called "vpn", and the session inside the process cannot be named', (t) => {
  const vrfs = speakers({ peers: [{ name: 'vpn', asn: 64701, address: '10.1.0.2', via: 'a' }] });
  t.is(vrfs.speakerOf('vpn'), vrfs.named('red'));
  t.is(vrfs.speakerOf('(vpn)'), undefined);
  t.deepEqual(
    vrfs.snapshot().map((v) => v.name),
    ['vpn'],
  );
});

test('stations tell VRFs apart by name and route distinguisher', (t) => {
  t.deepEqual(
    speakers({}, { importers: ['blue'] })
      .monitored()
      .map((m) => [m.name, m.distinguisher]),
    [
      ['red', { kind: 'rd', ...parseDistinguisher('64601:1')! }],
      ['blue', { kind: 'rd', ...parseDistinguisher('64601:2')! }],
    ],
  );
});

test('ROAs judge the routes of VRFs too', (t) => {
  const roas = new RoaTable();
  const vrfs = speakers({}, { roas });
  const state = (): unknown => [...vrfs.named('red')!.routes('best')][0]?.roa;
  const before = state();
  const list = new VrpList();
  list.add(4, NETWORK.addr.a3, 0, 0, 0, NETWORK.length, 24, 64999);
  roas.addSource('test').update(list).step();
  t.is(before, 'unknown');
  t.is(state(), 'invalid');
});

test('what one VRF imports from another goes on by the table of that one, and no listing shows the sessions between them', async (t) => {
  const fib = new FibWriter();
  const vrfs = speakers({}, { fib, importers: ['blue'] });
  vrfs.start();
  const route = () => fib.exactRoute(2, NETWORK)[0];
  await until(() => route() !== undefined, 'the route of red in blue');
  t.deepEqual(route()?.nextHops, [{ link: crossTo(1), gateway: undefined }]);
  t.deepEqual(vrfs.snapshot(), []);
  t.is(vrfs.speakerOf('(vrf red)'), undefined);
  t.deepEqual(
    vrfs
      .named('blue')!
      .explain(NETWORK)
      .map((c) => [c.peer, c.nextHop]),
    [['(vrf red)', '10.1.0.1']],
  );
  await vrfs.stop((s) => s.shutdown('the test is over'), 10);
});

test('VRFs come and go while the others go on, and the listeners move with the port', async (t) => {
  const fib = new FibWriter();
  const listeners = new Map<number, string>();
  const peers = [{ name: 'b', asn: 64701, address: '10.1.0.2', via: 'a' }];
  const vrfs = speakers({ peers }, { fib, listeners, importers: ['blue'] });
  t.teardown(() => vrfs.stop((s) => s.shutdown('the test is over'), 10));
  vrfs.start();
  await until(() => fib.exactRoute(2, NETWORK).length > 0, 'the route of red in blue');
  const red = vrfs.named('red');
  const links = [LINK, { ...LINK, index: 3, name: 'g', vrf: 5, addresses: ['10.5.0.1/30'] }];
  const more = { peers: [...peers, { name: 'c', asn: 64702, address: '10.5.0.2', via: 'g' }] };
  const reload = (bgp: object, ...of: RoutingVrf[]): readonly string[] =>
    vrfs.reload({ settings: settingsOf(bgp), vrfs: of, links, filters: new Map() });
  t.deepEqual(reload(more, RED, importer('blue', 2), importer('green', 5)), ['c']);
  t.deepEqual([...listeners.values()], ['1:179', '2:179', '5:179']);
  await until(() => fib.exactRoute(5, NETWORK).length > 0, 'the route of red in green');
  t.deepEqual(
    vrfs.snapshot().map((v) => v.name),
    ['b', 'c'],
  );
  t.is(vrfs.named('red'), red);
  t.deepEqual(reload({ ...more, listen_port: 1179 }, RED, importer('blue', 2), importer('green', 5)), []);
  t.deepEqual([...listeners.values()], ['1:1179', '2:1179', '5:1179']);
  t.deepEqual(reload({ peers, listen_port: 1179 }, RED, importer('green', 5)), []);
  t.deepEqual([...listeners.values()], ['1:1179', '5:1179']);
  t.deepEqual(vrfs.names, ['red', 'green']);
  fib.removeVrf(2);
  t.deepEqual(reload({ peers, listen_port: 1179 }, importer('green', 5)), []);
  await until(() => fib.exactRoute(5, NETWORK).length === 0, 'that green has lost what red exported');
  t.deepEqual(fibRoutes(fib, 2), [], 'a speaker that is gone fills no table');
});

test('a VRF begins to exchange routes when it gets a distinguisher, and ends when it loses it', async (t) => {
  const fib = new FibWriter();
  const vrfs = speakers({}, { fib, importers: ['blue'] });
  t.teardown(() => vrfs.stop((s) => s.shutdown('the test is over'), 10));
  vrfs.start();
  const has = (): boolean => fib.exactRoute(2, NETWORK).length > 0;
  await until(has, 'the route of red in blue');
  const reload = (rd: RoutingVrf['config']['rd']): readonly string[] =>
    vrfs.reload({
      settings: settingsOf({}),
      vrfs: [{ ...RED, config: { ...RED.config, rd } }, importer('blue', 2)],
      links: [LINK],
      filters: new Map(),
    });
  reload(undefined);
  await until(() => !has(), 'that blue has lost it');
  reload(parseDistinguisher('64601:7'));
  await until(has, 'the route again');
  t.deepEqual(
    [...vrfs.room.routes(0)].flat().map((r) => [distinguisherText(r.name.rd), String(r.name.prefix), r.vrf]),
    [['64601:7', String(NETWORK), 'red']],
  );
});

test("a VPN route is used and told while the VRF's table has a way to its next hop", async (t) => {
  const fib = new FibWriter();
  const vrfs = speakers({}, { fib });
  t.teardown(() => vrfs.stop((s) => s.shutdown('the test is over'), 10));
  vrfs.start();
  vrfs.linkState('a', true);
  const peer: VpnPeer = {
    ...openPeer({ name: 'p', address: NETWORK.addr, relation: 'internal', isClient: false, identifier: 1 }),
    cost: () => undefined,
  };
  const session = { peer: 'p', negotiated: { context: { families: { vpnv4: PLAIN_FACTS } } } };
  vrfs.room.up(session as unknown as MonitoredSession, peer);
  const reach = hex('0001 80 0c 0000000000000000 0a020009 00 68 000031 0000fc5900000009 0a09');
  const attributes = { ...PLAIN_ATTRIBUTES, localPref: 100, extendedCommunities: [target.high, target.low] };
  vrfs.room.update(
    session as unknown as MonitoredSession,
    { reach, unreach: undefined, isWithdrawn: false },
    attributes,
  );
  const told = Prefix.parse('10.9.0.0/16')!;
  const isUsed = (): boolean => fib.exactRoute(1, told).length > 0;
  const isTold = (): boolean =>
    [...vrfs.room.routes(0)].flat().some((r) => r.name.prefix.equals(told) && isReachable(r));
  await until(
    () => vrfs.named('red')!.explain(told)[0]?.refused === 'next hop is unreachable',
    'the route without a way',
  );
  t.deepEqual([isUsed(), isTold()], [false, false]);
  const way = (isThere: boolean): void => {
    const prefix = Prefix.parse('10.2.0.0/24')!;
    fib.apply([{ vrf: 1, prefix, source: RouteSource.Static, nextHops: isThere ? [{ link: 2 }] : undefined }]);
    vrfs.tableChanged();
  };
  way(true);
  await until(() => isUsed() && isTold(), 'the route with a way');
  t.is(String(fib.exactRoute(1, told)[0]!.nextHops[0]!.gateway), '10.2.0.9');
  way(false);
  await until(() => !isUsed() && !isTold(), 'the route without a way again');
});
