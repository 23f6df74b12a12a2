/** What the speaker of a VRF does for the VRF's own peers with what all speakers have in common: cluster, confederation. */
import test from 'ava';
import type { PeerConfig, SpeakerOptions } from '../../../bgp/speaker.ts';
import { isInside, roomPeers, roomTransport } from '../../../bgp/vpn/vrf-peers.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { MessageType } from '../../../bgp/wire/message.ts';
import { prefixesOf } from '../../../bgp/wire/nlri.ts';
import { decodeUpdate } from '../../../bgp/wire/update.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { PLAIN_CONTEXT } from '../kit/describe.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, messagesIn, roomOf, type VrfSim, vrf } from '../kit/vpn.ts';

const RED = { import: ['64601:100'], export: ['64601:100'] };
const families = ['vpnv4'] as const;

interface Lab {
  readonly net: SimNet;
  /** The VRF's speaker, with cables to the VRF's own peers. */
  readonly red: SimRouter;
  /** The VRF of another router of ours, or of our confederation. */
  readonly far: VrfSim;
}

/** @param farAs AS of the other router @param speaker what all our speakers have in common @param ofFar likewise of the other one */
function lab(asn: number, farAs: number, speaker: Partial<SpeakerOptions>, ofFar: Partial<SpeakerOptions> = {}): Lab {
  const net = new SimNet(3);
  let main!: SimRouter;
  let other!: SimRouter;
  const room = roomOf(asn, () => main, { red: { ...RED, rd: '64601:1' } });
  const farRoom = roomOf(farAs, () => other, { red: { ...RED, rd: '64601:2' } });
  main = net.router('main', { asn, vpn: room, speaker });
  other = net.router('other', { asn: farAs, vpn: farRoom, speaker: ofFar });
  net.join(main, other, { families }, { families });
  const pipe = roomTransport(room, 'red', (act) => void net.clock.after(0, act));
  const red: SimRouter = net.router('red', {
    asn,
    speaker: {
      ...speaker,
      transport: {
        connect: (target, opened, failed) => (isInside(target.link) ? pipe : red).connect(target, opened, failed),
        listen: (accept) => red.listen(accept),
      },
      resolver: { isUp: () => true, subscribe: () => undefined },
    },
  });
  const joining = { asn, imports: true, exports: true, nextHop4: Addr.parse('10.1.0.1'), nextHop6: undefined };
  for (const peer of roomPeers([], joining)) red.speaker.addPeer(peer);
  return { net, red, far: vrf(net, farRoom, 'red', farAs, '10.1.0.2', ofFar) };
}

/** A peer of the VRF. @param config how the VRF has configured it @param ofIt how it has configured the VRF */
function customer(
  { net, red }: Lab,
  name: string,
  asn: number,
  network: string,
  config: Partial<PeerConfig> = {},
  ofIt: Partial<PeerConfig> = {},
): SimRouter {
  const router = net.router(name, { asn, networks: [network] });
  net.join(red, router, config, ofIt);
  return router;
}

/** Attributes that a router has told another one with a prefix, decoded as inside an AS. */
function told(from: SimRouter, to: SimRouter, prefix: string) {
  const context = {
    ...PLAIN_CONTEXT,
    external: false,
    firstAs: undefined,
    families: { ipv4: { ...PLAIN_FACTS, extendedNextHop: true } },
  };
  const stream = from.streams.find((s) => !s.isClosed && s.cable.ends.includes(to))!;
  return messagesIn(stream.sent)
    .filter((m) => m[18] === MessageType.Update)
    .flatMap((m) => {
      const u = decodeUpdate(m.subarray(19), context);
      if ('handling' in u) return [];
      return u.reach.some((r) => prefixesOf(r.nlri).some((p) => String(p) === prefix)) ? [u.attributes!] : [];
    })
    .at(-1);
}

const CLUSTER = 0x09090909;

test('a VRF reflects between its own clients and to other routers, under our cluster identifier', (t) => {
  const l = lab(64601, 64601, { clusterId: Addr.parse('9.9.9.9')! });
  const one = customer(l, 'one', 64601, '172.20.1.0/24', { routeReflectorClient: true });
  const two = customer(l, 'two', 64601, '172.20.2.0/24', { routeReflectorClient: true });
  const plain = customer(l, 'plain', 64601, '172.20.3.0/24');
  announce(l.far, '172.20.9.0/24');
  l.net.start();
  l.net.runUntil(() => two.fib.size === 3 && l.far.fib.size === 2 && plain.fib.size === 2);
  l.net.run(5000);
  t.deepEqual([...one.fib.keys()].sort(), ['172.20.2.0/24', '172.20.3.0/24', '172.20.9.0/24']);
  t.deepEqual([...plain.fib.keys()].sort(), ['172.20.1.0/24', '172.20.2.0/24'], 'VPN routes go to clients alone');
  t.deepEqual([...l.far.fib.keys()].sort(), ['172.20.1.0/24', '172.20.2.0/24'], 'and those of clients alone to others');
  t.deepEqual(told(l.red, two, '172.20.1.0/24')!.clusterList, [CLUSTER]);
  t.deepEqual(told(l.red, two, '172.20.9.0/24')!.clusterList, [CLUSTER]);
});

test('members of a confederation are one AS to the peers of their VRFs', (t) => {
  const inside = (members: number[]): Partial<SpeakerOptions> => ({ confederation: { id: 64600, members } });
  const l = lab(65001, 65002, inside([65002]), inside([65001]));
  const one = customer(l, 'one', 64700, '172.20.1.0/24', {}, { asn: 64600 });
  announce(l.far, '172.20.9.0/24');
  l.net.start();
  l.net.runUntil(() => one.fib.size === 1 && l.far.fib.size === 1);
  const paths = (router: { speaker: SimRouter['speaker'] }) =>
    [...router.speaker.routes('best')].map((r) => `${r.prefix} ${r.asPath}`);
  t.true(paths(one).includes('172.20.9.0/24 64600'));
  t.true(paths(l.far).includes('172.20.1.0/24 (65001) 64700'), paths(l.far).join());
});
