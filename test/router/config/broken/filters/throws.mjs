const limits = JSON.parse('{"AS65002": 10}');

export function fromPeer(route, peer) {
  return route.med > limits[peer.asn].med ? undefined : route;
}

export const FIRST = limits.AS65003.first;
