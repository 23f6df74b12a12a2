/** What stations hear of VRFs, each an instance of its own (RFC 7854 §4.2, RFC 9069), and of the VPN families. */
import test from 'ava';
import { BmpFeed } from '../../../bgp/monitor/bmp-feed.ts';
import type { BmpInstance, StationTable } from '../../../bgp/monitor/bmp-instance.ts';
import { readVpnNlri } from '../../../bgp/vpn/nlri.ts';
import { distinguisherText } from '../../../bgp/vpn/route-distinguisher.ts';
import { isInside } from '../../../bgp/vpn/vrf-peers.ts';
import type { WireContext } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { decodeUpdate } from '../../../bgp/wire/update.ts';
import { messageOf, PLAIN_CONTEXT } from '../kit/describe.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { instanceOf, type Station, type BmpMessage as Told } from '../kit/station.ts';
import { announce, rd, roomOf, vrf } from '../kit/vpn.ts';

const PEER_OCTETS = 42;
const ROUTE_MONITORING = 0;
const STATISTICS = 1;
const PEER_UP = 3;

/** All messages a station is told, without keeping tables. */
function listening(tables: readonly StationTable[], instances: readonly BmpInstance[]) {
  const messages: Told[] = [];
  const feed = new BmpFeed({ systemName: 'a', description: 'test', wallMs: () => 0, tables, instances });
  const write: Station['write'] = (octets) => void messages.push({ type: octets[5]!, body: octets.slice(6) });
  feed.connected(write, () => {});
  const drain = (): void => {
    while (feed.hasWork) feed.pump();
  };
  drain();
  return { feed, messages, drain };
}

/** Peer type and distinguisher of a message. */
const whose = ({ body }: Told): string => `${body[0]} ${Buffer.from(body.subarray(2, 10)).toString('hex')}`;
/** The last octets of a message, as the name of a table. */
const nameIn = ({ body }: Told, length: number): string => Buffer.from(body.subarray(-length)).toString();

const VPN: WireContext = { ...PLAIN_CONTEXT, external: false, families: { vpnv4: PLAIN_FACTS, vpnv6: PLAIN_FACTS } };

/** `RD PREFIX label` of each VPN route in the messages. */
function vpnRoutes(messages: readonly Told[]): string[] {
  return messages
    .filter((m) => m.type === ROUTE_MONITORING)
    .flatMap(({ body }) => {
      const u = decodeUpdate(messageOf(body.subarray(PEER_OCTETS)).body, VPN);
      if ('handling' in u) throw new Error(u.words);
      const value = u.vpn?.reach;
      if (value === undefined) return [];
      const prefixes = readVpnNlri(value.subarray(5 + value[3]!), value[1] === 1 ? 4 : 6, false)!;
      return prefixes.map((p) => `${distinguisherText(p.rd)} ${p.prefix} ${p.label}`);
    })
    .sort();
}

function network() {
  const net = new SimNet(7854);
  let a!: SimRouter;
  let b!: SimRouter;
  const targets = { import: ['64601:100'], export: ['64601:100'] };
  const roomA = roomOf(64601, () => a, { red: { rd: '64601:1', ...targets }, blue: { rd: '64601:2', ...targets } });
  const roomB = roomOf(64601, () => b, { red: { rd: '10.0.0.2:1', ...targets } });
  a = net.router('a', { asn: 64601, vpn: roomA });
  b = net.router('b', { asn: 64601, vpn: roomB });
  const families = ['ipv4', 'vpnv4', 'vpnv6'] as const;
  net.join(a, b, { families });
  const red = vrf(net, roomA, 'red', 64601, '10.1.0.1');
  vrf(net, roomA, 'blue', 64601, '10.2.0.1');
  const far = vrf(net, roomB, 'red', 64601, '10.1.0.2');
  announce(red, '192.168.1.0/24', 'fd01::/48');
  return { net, a, b, red, far };
}

test("a VRF's Loc-RIB has its name and its distinguisher, and sessions inside of this process are not told", (t) => {
  const { net, a, red, far } = network();
  announce(far, '192.168.2.0/24');
  net.start();
  net.runUntil(() => red.fib.size === 1);
  net.run(1000);
  const vrfs = { name: 'red', distinguisher: { kind: 'rd', ...rd('64601:1') }, isHidden: isInside } as const;
  const unnamed = { name: 'blue', distinguisher: { kind: 'local', high: 0, low: 2 }, isHidden: isInside } as const;
  const instances = [instanceOf(a.speaker), instanceOf(red.speaker, vrfs), instanceOf(red.speaker, unnamed)];
  const { messages, feed } = listening(['in_pre', 'in_post', 'out_pre', 'out_post', 'loc'], instances);
  const ups = messages.filter((m) => m.type === PEER_UP);
  t.deepEqual(ups.map(whose), [
    `0 ${'00'.repeat(8)}`,
    `3 ${'00'.repeat(8)}`,
    '3 0000fc5900000001',
    '3 0000000000000002',
  ]);
  t.deepEqual([nameIn(ups[1]!, 6), nameIn(ups[2]!, 3), nameIn(ups[3]!, 4)], ['global', 'red', 'blue']);
  const told = messages.filter((m) => m.type === ROUTE_MONITORING && whose(m) === whose(ups[2]!));
  t.is(told.length, 5, 'three prefixes of two families, and the end of each');
  feed.finish();
  t.deepEqual(
    messages.slice(-4).map((m) => m.type),
    [2, 2, 2, 5],
  );
});

test('peers of a VRF are RD instance peers, and go as they came', (t) => {
  const net = new SimNet(1);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24'] });
  net.join(a, b);
  net.start();
  net.runUntil(() => a.fib.size === 1);
  const distinguisher = { kind: 'rd', ...rd('4242420001:7') } as const;
  const { feed, messages } = listening(['in_pre'], [instanceOf(a.speaker, { name: 'red', distinguisher })]);
  a.speaker.addMonitor(feed.monitors[0]!);
  a.speaker.peerDown('b');
  net.run(1000);
  const red = '1 0002fcde31210007';
  t.deepEqual(
    messages.slice(1).map((m) => `${m.type} ${whose(m)}`),
    [`3 ${red}`, `0 ${red}`, `0 ${red}`, `0 ${red}`, `2 ${red}`],
  );
});

test('a station that comes late is told the VPN routes of a session as one that was there before, and counts them', (t) => {
  const { net, a, b, red, far } = network();
  const early = listening(['in_pre'], [instanceOf(b.speaker)]);
  b.speaker.addMonitor(early.feed.monitors[0]!);
  net.start();
  net.runUntil(() => far.fib.size === 2);
  announce(red, '192.168.3.0/24');
  net.runUntil(() => far.fib.size === 3);
  net.run(1000);
  const late = listening(['in_pre'], [instanceOf(b.speaker)]);
  t.deepEqual(vpnRoutes(late.messages), vpnRoutes(early.messages));
  t.deepEqual(vpnRoutes(late.messages), [
    '64601:1 192.168.1.0/24 3',
    '64601:1 192.168.3.0/24 3',
    '64601:1 fd01::/48 3',
  ]);
  late.feed.report();
  const { body } = late.messages.find((m) => m.type === STATISTICS)!;
  const text = Buffer.from(body.subarray(PEER_OCTETS)).toString('hex');
  t.true(text.includes(`0009000b000180${(2).toString(16).padStart(16, '0')}`), `VPNv4 in ${text}`);
  t.true(text.includes(`0009000b000280${(1).toString(16).padStart(16, '0')}`), `VPNv6 in ${text}`);
  t.is(a.session('b').state, 'Established');
});
