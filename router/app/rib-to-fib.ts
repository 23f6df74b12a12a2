/** Best routes of BGP into the FIB, in batches: names of uplinks become link numbers, each list of next hops once. */
import type { RouteChange as BgpRouteChange, FibNextHop, RouteSink } from '../../bgp/ports.ts';
import { type NextHop, type RouteChange, RouteSource } from '../fib/shared.ts';
import type { FibWriter } from '../fib/writer.ts';

const DEFAULT_VRF = 0;

export class RibToFib implements RouteSink {
  readonly #fib: FibWriter;
  readonly #linkIndex: (name: string) => number | undefined;
  /** Those of the two that can have routes. */
  readonly #sources: readonly RouteSource[];
  readonly #changed: () => void;
  /** The speaker passes the same array for the same next hops; so does this, which makes grouping cheap in the FIB. */
  readonly #known = new WeakMap<readonly FibNextHop[], readonly NextHop[]>();

  /** @param changed called after each batch */
  constructor(
    fib: FibWriter,
    linkIndex: (name: string) => number | undefined,
    peers: { readonly hasInternal: boolean; readonly hasExternal: boolean },
    changed: () => void,
  ) {
    this.#fib = fib;
    this.#linkIndex = linkIndex;
    this.#sources = [
      ...(peers.hasExternal ? [RouteSource.Ebgp] : []),
      ...(peers.hasInternal ? [RouteSource.Ibgp] : []),
    ];
    this.#changed = changed;
  }

  apply(batch: readonly BgpRouteChange[]): void {
    const changes: RouteChange[] = [];
    for (const { prefix, nextHops, isInternal } of batch) {
      const source = isInternal ? RouteSource.Ibgp : RouteSource.Ebgp;
      if (nextHops !== undefined)
        changes.push({ vrf: DEFAULT_VRF, prefix, source, nextHops: this.#translate(nextHops) });
      // The new route comes before the old one goes, so that packets always find one.
      for (const other of this.#sources) {
        if (other === source && nextHops !== undefined) continue;
        changes.push({ vrf: DEFAULT_VRF, prefix, source: other, nextHops: undefined });
      }
    }
    this.#fib.apply(changes);
    this.#changed();
  }

  #translate(hops: readonly FibNextHop[]): readonly NextHop[] {
    let known = this.#known.get(hops);
    if (known === undefined) {
      known = hops.flatMap((h): NextHop[] => {
        const link = this.#linkIndex(String(h.link));
        return link === undefined ? [] : [{ link, gateway: h.address }];
      });
      this.#known.set(hops, known);
    }
    return known;
  }
}
