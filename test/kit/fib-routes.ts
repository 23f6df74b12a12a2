/** What a FIB holds, for tests. */
import type { RouteInfo } from '../../router/fib/shared.ts';
import type { FibWriter } from '../../router/fib/writer.ts';

/** All routes of a VRF, in no particular order; those of a prefix best first. */
export function fibRoutes(fib: FibWriter, vrf: number): RouteInfo[] {
  const found: RouteInfo[] = [];
  for (const family of [4, 6] as const) {
    for (let at = 0; at >= 0; ) {
      at = fib.slice(vrf, family, at, 1000, ({ prefix }) => {
        found.push(...fib.exactRoute(vrf, prefix));
        return true;
      });
    }
  }
  return found;
}
