/** A router between two BIRDs of other ASes, each behind a tunnel of its own. */
import type { Lab } from './lab.ts';
import { PEER_B, PEER_C, Peer } from './peer.ts';
import { ROUTER, Router } from './router.ts';

export async function twoPeers(lab: Lab) {
  const a = await lab.namespace('a');
  const router = new Router(lab, a);
  const beside = async (name: 'b' | 'c', plan: typeof PEER_B, net: string) => {
    const ns = await lab.namespace(name);
    await lab.veth(`to${name}`, a, `${net}.1/24`, ns, `${net}.2/24`);
    const peer = new Peer(lab, ns, plan);
    const remote = { publicKey: router.key(name).publicKey, asn: ROUTER.asn, linkLocal: 'fe80::1' };
    await peer.tunnel(remote, 51820);
    await peer.startBird(remote, { session: 'hold time 9;' });
    return { peer, tunnel: { name, peer, endpoint: `${net}.2:51820`, linkLocal: 'fe80::1' } };
  };
  const b = await beside('b', PEER_B, '192.0.2');
  const c = await beside('c', PEER_C, '198.51.100');
  /** The tunnels are those of `Router.configure`. */
  return { router, b: b.peer, c: c.peer, tunnelB: b.tunnel, tunnelC: c.tunnel };
}

/** Whether a BIRD has heard of a prefix from us. */
export async function knows(peer: Peer, prefix: string): Promise<boolean> {
  return (await peer.birdc('show', 'route', 'protocol', 'upstream')).includes(prefix);
}
