/** Tables of the VPN families that a station is told (RFC 7854, RFC 8671): whatever happens, it knows what we know. */
import test from 'ava';
import fc from 'fast-check';
import { BmpFeed } from '../../../bgp/monitor/bmp-feed.ts';
import type { Policy } from '../../../bgp/speaker.ts';
import { distinguisherText } from '../../../bgp/vpn/route-distinguisher.ts';
import type { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { isReachable } from '../../../bgp/vpn/vpn-table.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { instanceOf } from '../kit/station.ts';
import { announce, roomOf, type VrfSim, vrf } from '../kit/vpn.ts';
import { VpnStation } from '../kit/vpn-station.ts';

const AS = 64601;
const RED = { import: ['64601:100'], export: ['64601:100'] };
const TABLES = ['in_pre', 'in_post', 'out_pre', 'out_post'] as const;
const families = ['ipv4', 'vpnv4', 'vpnv6'] as const;

/** Lets pass what is not inside of `refused`, with a community of its own. */
const policy = (refused: string, mark: number): Policy => [
  { match: { prefixes: [{ prefix: Prefix.parse(refused)!, maxLength: 32 }] }, action: 'reject' },
  { match: {}, set: { addCommunities: [mark] }, action: 'accept' },
];

/** `a` reflects between `b` and `c`, has a VRF of its own, and policies for each of them. */
function network(addPath?: 'both') {
  const net = new SimNet(8671);
  const routers = new Map<string, SimRouter>();
  const rooms = new Map<string, VpnRoom>();
  const vrfs = new Map<string, VrfSim>();
  for (const [i, name] of ['a', 'b', 'c'].entries()) {
    const room = roomOf(AS, () => routers.get(name)!, { red: { ...RED, rd: `64601:${i + 1}` } });
    rooms.set(name, room);
    routers.set(name, net.router(name, { asn: AS, vpn: room }));
  }
  const [a, b, c] = [...routers.values()] as [SimRouter, SimRouter, SimRouter];
  const more = { families, ...(addPath && { addPath }) };
  const reflecting = { ...more, routeReflectorClient: true };
  const toB = net.join(
    a,
    b,
    { ...reflecting, import: policy('10.9.0.0/16', 1), export: policy('10.8.0.0/16', 2) },
    more,
  );
  net.join(a, c, { ...reflecting, import: policy('10.7.0.0/16', 3), export: policy('10.6.0.0/16', 4) }, more);
  for (const [i, [name, room]] of [...rooms].entries()) vrfs.set(name, vrf(net, room, 'red', AS, `10.0.0.${i + 1}`));
  return { net, a, b, c, toB, room: rooms.get('a')!, vrfs };
}

function listen(r: SimRouter, hasPathIds = false) {
  const station = new VpnStation(hasPathIds);
  const feed = new BmpFeed({
    systemName: r.name,
    description: 'test',
    wallMs: () => 0,
    tables: TABLES,
    instances: [instanceOf(r.speaker)],
  });
  const stop = r.speaker.addMonitor(feed.monitors[0]!);
  feed.connected(station.write, () => {});
  const drain = (): void => {
    while (feed.hasWork) feed.pump();
  };
  return { station, feed, drain, stop };
}

const addressOf = (r: SimRouter, peer: string): Addr => Addr.parse(r.session(peer).address)!;

/** What the station of `a` must know, by its table, and by what the stations of its peers hear from it. */
function agrees(
  n: ReturnType<typeof network>,
  at: Readonly<Record<'a' | 'b' | 'c', VpnStation>>,
  hasPathIds = false,
): string[] {
  const wrong: string[] = [];
  const compare = (what: string, is: readonly string[], should: readonly string[]): void => {
    if (is.join('\n') !== should.join('\n')) wrong.push(`${what}:\n${is.join('\n')}\ninstead of\n${should.join('\n')}`);
  };
  for (const peer of ['b', 'c'] as const) {
    const there = addressOf(n.a, peer);
    const back = addressOf(n[peer], 'a');
    const isUp = n.a.session(peer).state === 'Established';
    compare(`out_post to ${peer}`, at.a.lines('out_post', there), isUp ? at[peer].lines('in_pre', back) : []);
    compare(`in_pre from ${peer}`, at.a.lines('in_pre', there), isUp ? at[peer].lines('out_post', back) : []);
    const refused = peer === 'b' ? /10\.9\./ : /10\.7\./;
    const passed = isUp ? at.a.lines('in_pre', there).filter((line) => !refused.test(line)) : [];
    const mark = peer === 'b' ? /, communities 0:1(?=,|$)/ : /, communities 0:3(?=,|$)/;
    compare(`in_post from ${peer}`, at.a.lines('in_post', there, mark), passed);
    const offered = [...n.room.routes(0)].flatMap((paths) => {
      const usable = paths.filter((r) => isReachable(r));
      const some = hasPathIds ? usable : usable.slice(0, 1);
      return some
        .filter((r) => r.bundle.from?.name !== peer)
        .map((r) => `${hasPathIds ? `${r.number} ` : ''}${distinguisherText(r.name.rd)} ${r.name.prefix}`);
    });
    compare(`out_pre to ${peer}`, [...at.a.table('out_pre', there).keys()].sort(), isUp ? offered.sort() : []);
  }
  return wrong;
}

test('a station hears the VPN routes of a session before and after policy, once and whole', (t) => {
  const n = network();
  announce(n.vrfs.get('a')!, '10.1.0.0/16', '10.6.0.0/16', '10.8.0.0/16', 'fd01::/48');
  announce(n.vrfs.get('b')!, '10.2.0.0/16', '10.9.1.0/24', '10.6.1.0/24');
  announce(n.vrfs.get('c')!, '10.3.0.0/16', 'fd03::/48');
  n.net.start();
  n.net.run(30_000);
  const [a, b, c] = [listen(n.a), listen(n.b), listen(n.c)];
  for (const { drain } of [a, b, c]) drain();
  t.deepEqual(agrees(n, { a: a.station, b: b.station, c: c.station }), []);
  const [toB, toC] = [addressOf(n.a, 'b'), addressOf(n.a, 'c')];
  const { station } = a;
  const own = 'origin IGP path [], local-pref 100';
  t.deepEqual(station.lines('in_post', toB), [
    `64601:2 10.2.0.0/16: label 3 via 10.0.0.2, ${own}, communities 0:1, ext-community rt:64601:100`,
    `64601:2 10.6.1.0/24: label 3 via 10.0.0.2, ${own}, communities 0:1, ext-community rt:64601:100`,
  ]);
  t.is(
    station.table('out_pre', toC).get('64601:1 10.6.0.0/16'),
    `label 3 via 10.0.0.1, ${own}, ext-community rt:64601:100`,
  );
  t.is(
    station.table('out_pre', toC).get('64601:2 10.2.0.0/16'),
    `label 3 via 10.0.0.2, ${own}, communities 0:1, ext-community rt:64601:100`,
    'before policy, and before what a reflector adds',
  );
  t.is(
    station.table('out_post', toC).get('64601:2 10.2.0.0/16'),
    `label 3 via 10.0.0.2, ${own}, communities 0:1 0:4, ext-community rt:64601:100, originator 10.0.0.2, clusters 10.0.0.1`,
  );
  t.false(station.table('out_post', toC).has('64601:1 10.6.0.0/16'));
  t.is(station.ends.size, 16, 'of four tables, two peers and two families');
  t.true([...station.ends.values()].every((count) => count === 1));
});

test('messages about a VPN table are those of RFC 8671 and RFC 4364, octet by octet', (t) => {
  const n = network();
  announce(n.vrfs.get('a')!, '10.1.0.0/16');
  n.net.start();
  n.net.run(30_000);
  const { station, drain } = listen(n.a);
  drain();
  const peer = (flags: string): string =>
    `00${flags}${'00'.repeat(8)}fe80${'00'.repeat(10)}00010002${'0000fc59'}0a000002${'00'.repeat(8)}`;
  const nlri = '68000031 0000fc5900000001 0a01'.replaceAll(' ', '');
  const hop = `0c${'00'.repeat(8)}0a000001`;
  const reach = `800e1f000180${hop}00${nlri}`;
  const target = 'c010080002fc5900000064';
  const update = (attributes: string): string => {
    const length = attributes.length / 2;
    return `${'ff'.repeat(16)}${(length + 23).toString(16).padStart(4, '0')}020000${length.toString(16).padStart(4, '0')}${attributes}`;
  };
  const message = (flags: string, attributes: string): string => {
    const body = `${peer(flags)}${update(attributes)}`;
    return `03${(body.length / 2 + 6).toString(16).padStart(8, '0')}00${body}`;
  };
  const plain = '40010100400200400504 00000064'.replaceAll(' ', '');
  const told = station.monitored
    .map((m) => Buffer.from(m).toString('hex'))
    .filter((m) => m.includes(nlri) && m.includes(peer('90').slice(20, 52)));
  t.deepEqual(told.slice(0, 2).sort(), [
    message('90', `${reach}${plain}${target}`),
    message('d0', `${reach}${plain}c00804${'00000002'}${target}`),
  ]);
});

const PREFIXES = ['10.1.0.0/16', '10.6.0.0/16', '10.7.1.0/24', '10.8.0.0/16', '10.9.0.0/16', 'fd01::/48'];
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('announce', 'withdraw'), vrf: fc.nat(2), prefix: fc.nat(5) }),
  },
  fc.record({ kind: fc.constantFrom('cable', 'export', 'pump', 'drain', 'drain', 'turn', 'run') }),
);

for (const addPath of [undefined, 'both'] as const) {
  test(`a station that reads now and then knows the VPN tables in the end${addPath ? ', of several paths' : ''}`, (t) => {
    const property = fc.property(fc.array(step, { minLength: 5, maxLength: 25 }), (steps) => {
      const n = network(addPath);
      const hasPathIds = addPath !== undefined;
      const heard = { a: listen(n.a, hasPathIds), b: listen(n.b, hasPathIds), c: listen(n.c, hasPathIds) };
      n.net.start();
      n.net.run(30_000);
      let isUp = true;
      let refused = 8;
      for (const s of steps) {
        if ('vrf' in s) {
          const { speaker } = [...n.vrfs.values()][s.vrf]!;
          const prefix = Prefix.parse(PREFIXES[s.prefix]!)!;
          if (s.kind === 'announce') speaker.announce({ prefix });
          else speaker.withdraw(prefix);
        } else if (s.kind === 'cable') n.net.setCable(n.toB, (isUp = !isUp));
        else if (s.kind === 'export') {
          refused = refused === 8 ? 1 : 8;
          n.a.speaker.setPolicies('b', { import: policy('10.9.0.0/16', 1), export: policy(`10.${refused}.0.0/16`, 2) });
        } else if (s.kind === 'pump') heard.a.feed.pump();
        else if (s.kind === 'drain') heard.a.drain();
        else n.net.run(s.kind === 'turn' ? 0 : 5000);
      }
      n.net.setCable(n.toB, true);
      n.net.run(120_000);
      for (const { drain } of Object.values(heard)) drain();
      const { a, b, c } = heard;
      t.deepEqual(agrees(n, { a: a.station, b: b.station, c: c.station }, hasPathIds), []);
    });
    fc.assert(property, { seed: 8671, numRuns: 30 });
  });
}

test('a session of one VPN family has tables of that family alone', (t) => {
  const net = new SimNet(4);
  let a!: SimRouter;
  const room = roomOf(AS, () => a, { red: { ...RED, rd: '64601:1' } });
  a = net.router('a', { asn: AS, vpn: room });
  const b: SimRouter = net.router('b', { asn: AS, vpn: roomOf(AS, () => b, {}) });
  net.join(a, b, { families: ['ipv4', 'vpnv4'] });
  announce(vrf(net, room, 'red', AS, '10.0.0.1'), '10.1.0.0/16', 'fd01::/48');
  net.start();
  net.run(30_000);
  const { station, drain } = listen(a);
  drain();
  for (const table of ['out_pre', 'out_post'] as const)
    t.deepEqual([...station.table(table, addressOf(a, 'b')).keys()], ['64601:1 10.1.0.0/16']);
  t.is(station.ends.size, 4);
});

test('a table of many routes is told in portions, and a station that leaves costs nothing any more', (t) => {
  const n = network();
  announce(n.vrfs.get('a')!, ...Array.from({ length: 1500 }, (_, i) => `10.${64 + (i >> 8)}.${i & 255}.0/24`));
  n.net.start();
  n.net.run(30_000);
  const there = addressOf(n.a, 'c');
  const { station, feed, drain, stop } = listen(n.a);
  const sizes: number[] = [];
  while (feed.hasWork) {
    const before = station.table('out_post', there).size;
    feed.pump();
    const more = station.table('out_post', there).size - before;
    if (more > 0) sizes.push(more);
  }
  t.deepEqual(sizes, [512, 512, 476]);
  let wakes = 0;
  feed.disconnected();
  feed.connected(station.write, () => wakes++);
  drain();
  wakes = 0;
  announce(n.vrfs.get('a')!, '10.1.0.0/16');
  n.net.run(1000);
  t.is(wakes, 4, 'one for each table that has something to tell after nothing');
  drain();
  stop();
  feed.disconnected();
  announce(n.vrfs.get('a')!, '10.2.0.0/16');
  n.net.run(1000);
  t.is(wakes, 4);
  t.false(feed.hasWork);
});
