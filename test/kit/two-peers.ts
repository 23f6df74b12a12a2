/** A router and peers of other ASes, each behind a tunnel of its own. */
import type { Lab } from './lab.ts';
import { PEER_B, PEER_C, Peer, type PeerPlan } from './peer.ts';
import { ROUTER, Router } from './router.ts';

/**
 * A peer at the far end of a tunnel to a router, over a link of its own; the tunnel is one of `Router.configure`.
 * @param name of the tunnel and of the peer's namespace @param net the first three parts of the link's addresses
 */
export async function peerBehind(lab: Lab, router: Router, name: 'b' | 'c', plan: PeerPlan, net: string) {
  const ns = await lab.namespace(name);
  await lab.veth(`to${name.toUpperCase()}`, router.ns, `${net}.1/24`, ns, `${net}.2/24`);
  const peer = new Peer(lab, ns, plan);
  const linkLocal = 'fe80::1';
  const remote = { publicKey: router.key(name).publicKey, asn: ROUTER.asn, linkLocal };
  await peer.tunnel(remote, 51820);
  return { peer, remote, tunnel: { name, peer, endpoint: `${net}.2:51820`, linkLocal } };
}

/** The peer of tests that have one. */
export async function onePeer(lab: Lab) {
  const router = new Router(lab, await lab.namespace('a'));
  return { router, ...(await peerBehind(lab, router, 'b', PEER_B, '192.0.2')) };
}

/** @param session in BIRD's words */
export async function twoPeers(lab: Lab, session = 'hold time 9;') {
  const { router, ...b } = await onePeer(lab);
  const c = await peerBehind(lab, router, 'c', PEER_C, '198.51.100');
  for (const { peer, remote } of [b, c]) await peer.startBird(remote, { session });
  return { router, b: b.peer, c: c.peer, tunnelB: b.tunnel, tunnelC: c.tunnel };
}

/** Whether a BIRD has heard of a prefix from us. */
export async function knows(peer: Peer, prefix: string): Promise<boolean> {
  return (await peer.birdc('show', 'route', 'protocol', 'upstream')).includes(prefix);
}
