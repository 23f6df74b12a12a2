/**
 * From a next hop as an FPM client names it to our links (README.md, "Which way is that for us?"). Pure: works on what is
 * configured, never on learned routes, so that no route can depend on itself.
 */
import type { NextHop } from '../fib/shared.ts';
import type { Prefix } from '../lib/addr.ts';
import type { FpmHop } from './message.ts';

/** A prefix of ours, connected or configured, with the ways to it. */
export interface KnownRoute {
  readonly vrf: number;
  readonly prefix: Prefix;
  readonly nextHops: readonly NextHop[];
}

/**
 * @param known connected and configured routes; default routes are not used, since everything would be behind them
 * @param linkOf our link of a VRF for an interface number of the client's
 */
export function hopResolver(
  known: readonly KnownRoute[],
  linkOf: (ifindex: number, vrf: number) => number | undefined,
): (hop: FpmHop, vrf: number) => readonly NextHop[] {
  const byLength = known.filter((r) => r.prefix.length > 0).sort((a, b) => b.prefix.length - a.prefix.length);
  return ({ gateway, ifindex, weight, source }, vrf) => {
    if (gateway !== undefined && !gateway.isLinkLocal) {
      const route = byLength.find((r) => r.vrf === vrf && r.prefix.contains(gateway));
      return (route?.nextHops ?? []).map((h) => ({ link: h.link, gateway: h.gateway ?? gateway, weight, source }));
    }
    const link = ifindex === undefined ? undefined : linkOf(ifindex, vrf);
    if (link === undefined) return [];
    // An IPv4 link-local gateway is what zebra says where the real one is IPv6; the tunnel needs none.
    return [{ link, gateway: gateway?.family === 6 ? gateway : undefined, weight, source }];
  };
}
