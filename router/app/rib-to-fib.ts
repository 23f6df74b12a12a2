/** Best routes of BGP into the FIB, in batches of columns: names of uplinks become link numbers, each way once. */
import type { RouteBatch, RouteSink, Way, WayKind } from '../../bgp/ports.ts';
import { crossedVrf, type NextHop, RouteKind, RouteSource, type RouteTarget } from '../fib/shared.ts';
import type { FibWriter } from '../fib/writer.ts';

const SOURCES: readonly RouteSource[] = [RouteSource.Ebgp, RouteSource.Ibgp];
const KINDS: Readonly<Record<WayKind, RouteKind>> = {
  unicast: RouteKind.Unicast,
  blackhole: RouteKind.Blackhole,
  unreachable: RouteKind.Unreachable,
};

export class RibToFib implements RouteSink {
  readonly #fib: FibWriter;
  readonly #linkIndex: (name: string) => number | undefined;
  readonly #changed: () => void;
  /** Invariant: every link of a way that stands here is known, and has the number it had. */
  #known = new WeakMap<Way, RouteTarget>();

  /** @param changed called after each batch */
  constructor(fib: FibWriter, linkIndex: (name: string) => number | undefined, changed: () => void) {
    this.#fib = fib;
    this.#linkIndex = linkIndex;
    this.#changed = changed;
  }

  apply(batch: RouteBatch): void {
    const { vrf, count, prefixes, prefix, way: target } = batch;
    const targets = batch.ways.map((way) => way && this.#translate(way));
    this.#fib.applyColumns({ vrf, count, prefixes, prefix, target, targets, sources: SOURCES });
    this.#changed();
  }

  /** Links have other numbers now. */
  forget(): void {
    this.#known = new WeakMap();
  }

  #translate(way: Way): RouteTarget {
    let known = this.#known.get(way);
    if (known === undefined) {
      const nextHops = way.nextHops.flatMap((h): NextHop[] => {
        const link = this.#linkIndex(String(h.link));
        // Into another VRF everything goes the same way: its table says where on.
        const gateway = link !== undefined && crossedVrf(link) >= 0 ? undefined : h.address;
        return link === undefined ? [] : [{ link, gateway, ...(h.weight && { weight: h.weight }) }];
      });
      const source = way.isInternal ? RouteSource.Ibgp : RouteSource.Ebgp;
      known = { source, nextHops, kind: KINDS[way.kind] };
      if (nextHops.length === way.nextHops.length) this.#known.set(way, known);
    }
    return known;
  }
}
