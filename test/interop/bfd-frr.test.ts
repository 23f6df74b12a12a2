/**
 * The same against FRR, the other way round: FRR's bgpd connects to our listener over several hops by IPv4, signed with a
 * password and within a TTL limit, and its bfdd watches the path by multihop BFD (RFC 5883).
 */
import type { BfdSessions, BgpPeers, Status } from '../../router/control/messages.ts';
import { Frr, frrMissing } from '../kit/frr.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, type Peer } from '../kit/peer.ts';
import { ROUTER, type Router } from '../kit/router.ts';
import { onePeer } from '../kit/two-peers.ts';

interface Context {
  lab: Lab;
  b: Peer;
  frr: Frr;
  router: Router;
}

const missing = frrMissing() ?? Lab.missing('vtysh', 'wg', 'iptables');
const { test, it } = labTests<Context>(missing);

const BGPD = `router bgp ${PEER_B.asn}
 bgp router-id ${PEER_B.v4}
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor ${ROUTER.v4} remote-as ${ROUTER.asn}
 neighbor ${ROUTER.v4} update-source ${PEER_B.v4}
 neighbor ${ROUTER.v4} password correct-horse
 neighbor ${ROUTER.v4} ttl-security hops 2
 neighbor ${ROUTER.v4} bfd
 neighbor ${ROUTER.v4} bfd profile fast
 neighbor ${ROUTER.v4} timers connect 1
 address-family ipv4 unicast
  network ${PEER_B.announce4}
 exit-address-family`;
const BFDD = `bfd
 profile fast
  detect-multiplier 3
  receive-interval 100
  transmit-interval 150`;

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, peer: b, tunnel } = await onePeer(lab);
    const frr = new Frr(lab, b.ns);
    await b.ip('route', 'add', `${ROUTER.v4}/32`, 'dev', b.device, 'src', PEER_B.v4);
    router.configure([tunnel], 'passive: true');
    router.add(`    - name: frr
      asn: ${PEER_B.asn}
      address: ${PEER_B.v4}
      local_address: ${ROUTER.v4}
      families: [ipv4]
      passive: true
      password: correct-horse
      ttl_security: 2
      bfd: { interval: 100ms }
routes: [{ to: ${PEER_B.v4}/32, via: b }]
`);
    await router.up();
    await frr.start('zebra', '');
    await frr.start('bfdd', BFDD);
    await frr.start('bgpd', BGPD);
    t.context.b = b;
    t.context.frr = frr;
    t.context.router = router;
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const session = async (r: Router): Promise<BfdSessions['sessions'][number]> =>
  (await r.json<BfdSessions>('bfd')).sessions[0]!;
const peer = async (r: Router): Promise<BgpPeers['peers'][number]> =>
  (await r.json<BgpPeers>('bgp', 'show')).peers.find((p) => p.name === 'frr')!;

async function established({ lab, router }: Context): Promise<void> {
  await lab.eventually('the session is established', async () => (await peer(router)).state === 'Established', 60_000);
  await lab.eventually('BFD is up', async () => (await session(router)).state === 'Up');
}

it('FRR connects to a listener with password and TTL security, and multihop BFD agrees on the slower interval', async (t) => {
  const { frr, router } = t.context;
  await established(t.context);
  const s = await session(router);
  t.like(s, {
    peers: ['frr'],
    multihop: true,
    remote_state: 'Up',
    tx_ms: 100,
    rx_ms: 150,
    detection_ms: 450,
    flaps: 0,
  });
  t.regex(await frr.vtysh('show bfd peers'), /Status: up/);
  t.regex(await frr.vtysh(`show bgp neighbors ${ROUTER.v4}`), /BGP state = Established/);
  const { counters, drops } = await router.json<Status>('status');
  t.is(counters['tcp_signatureWrong'], 0);
  t.is(drops['ttl-security'], 0);
});

it('FRR that takes BFD down on purpose does not end the session', async (t) => {
  const { lab, frr, router } = t.context;
  await established(t.context);
  const { flaps } = await session(router);
  await frr.configure('bfd', 'profile fast', 'shutdown');
  await lab.eventually('BFD is down', async () => (await session(router)).state === 'Down');
  t.is((await session(router)).diag, 'neighbor signaled session down');
  const { since_s: since } = await peer(router);
  await frr.configure('bfd', 'profile fast', 'no shutdown');
  await established(t.context);
  const after = await peer(router);
  t.true(after.since_s! >= since!, 'the session was not interrupted');
  t.is((await session(router)).flaps, flaps + 1);
});

it('a path that breaks without a word is noticed by both sides', async (t) => {
  const { lab, b, frr, router } = t.context;
  await established(t.context);
  await lab.ok(b.ns, 'iptables', ['-I', 'INPUT', '-p', 'udp', '-i', 'toB', '-j', 'DROP']);
  // Only one direction is cut: we still hear FRR, and learn from its packets that it does not hear us.
  await router.daemon!.until(/bfd down.*peer=frr.*neighbor signaled/, 10_000);
  await router.daemon!.until(/peer down.*peer=frr/, 5_000);
  await lab.eventually('FRR noticed', async () => /Status: down/.test(await frr.vtysh('show bfd peers')));
  t.regex(await frr.vtysh(`show bgp neighbors ${ROUTER.v4}`), /BGP state = (?!Established)/);
  await lab.ok(b.ns, 'iptables', ['-F']);
  await established(t.context);
});

it('a peer with another password, or farther away than allowed, does not get in', async (t) => {
  const { lab, frr, router } = t.context;
  await established(t.context);
  const bgp = `router bgp ${PEER_B.asn}`;
  await frr.configure(bgp, `neighbor ${ROUTER.v4} password another-horse`);
  await lab.eventually('wrong signatures are counted', async () => {
    const { counters } = await router.json<Status>('status');
    return counters['tcp_signatureWrong']! > 0 && (await peer(router)).state !== 'Established';
  });
  await frr.configure(
    bgp,
    `neighbor ${ROUTER.v4} password correct-horse`,
    `no neighbor ${ROUTER.v4} ttl-security hops 2`,
    `neighbor ${ROUTER.v4} ebgp-multihop 64`,
  );
  await lab.eventually(
    'small TTLs are counted',
    async () => (await router.json<Status>('status')).drops['ttl-security']! > 0,
  );
  t.not((await peer(router)).state, 'Established');
  await frr.configure(bgp, `no neighbor ${ROUTER.v4} ebgp-multihop`, `neighbor ${ROUTER.v4} ttl-security hops 2`);
  await established(t.context);
});
