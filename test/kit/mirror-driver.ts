/**
 * A FIB whose routes are mirrored into the tables of the kernel of the namespace it runs in, worked from outside: a request per
 * line of standard input, an answer per line of standard output, both JSON. Usage: node mirror-driver.js SETTINGS [takeover]
 */
import { createInterface } from 'node:readline';
import { RouteKind, RouteSource } from '../../router/fib/shared.ts';
import { FibWriter } from '../../router/fib/writer.ts';
import { type KernelRoutes, RouteMirror } from '../../router/kernel/route-mirror.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';

export interface PlainRoute {
  readonly prefix: string;
  readonly vrf?: number;
  /** [link, gateway, weight]; none with a kind that sends nothing on, undefined to withdraw. */
  readonly hops?: readonly (readonly [number, string | null, number?])[];
  readonly kind?: keyof typeof RouteKind;
  readonly source?: keyof typeof RouteSource;
}

export type MirrorRequest =
  | { readonly do: 'routes'; readonly routes: readonly PlainRoute[] }
  /** This many host routes of 10.128.0.0/9, alternating between next hops. */
  | { readonly do: 'many'; readonly count: number; readonly gateways: readonly (readonly [number, string])[] }
  | { readonly do: 'link'; readonly index: number; readonly isUp: boolean }
  | { readonly do: 'settings'; readonly settings: KernelRoutes }
  | { readonly do: 'retry' | 'resync' | 'settled' | 'stop' | 'close' };

const fib = new FibWriter();
const mirror = new RouteMirror(fib, JSON.parse(process.argv[2]!) as KernelRoutes, process.argv[3] === 'takeover');

function hop([link, gateway, weight = 1]: readonly [number, string | null, number?]) {
  return { link, gateway: gateway === null ? undefined : Addr.parse(gateway)!, weight };
}

function order(r: MirrorRequest): void {
  switch (r.do) {
    case 'routes':
      fib.apply(
        r.routes.map(({ prefix, vrf = 0, hops, kind = 'Unicast', source = 'Ebgp' }) => ({
          ...{ vrf, prefix: Prefix.parse(prefix)!, source: RouteSource[source], kind: RouteKind[kind] },
          nextHops: hops?.map(hop),
        })),
      );
      break;
    case 'many': {
      const ways = r.gateways.map((g) => [hop(g)]);
      fib.apply(
        Array.from({ length: r.count }, (_, i) => ({
          ...{ vrf: 0, source: RouteSource.Ebgp, nextHops: ways[i % ways.length]! },
          prefix: Prefix.containing(Addr.v4((10 << 24) | (1 << 23) | i), 32)!,
        })),
      );
      break;
    }
    case 'link':
      if (r.isUp) fib.linkUp(r.index);
      else fib.linkDown(r.index);
      mirror.linkChanged();
      break;
    case 'settings':
      mirror.reconfigure(r.settings);
      break;
    case 'retry':
    case 'resync':
    case 'settled':
    case 'stop':
    case 'close':
      mirror[r.do]();
  }
}

process.stdout.write('{"event":"ready"}\n');
for await (const line of createInterface(process.stdin)) {
  const request = JSON.parse(line) as MirrorRequest;
  const began = performance.now();
  order(request);
  if (request.do !== 'stop' && request.do !== 'close') while (mirror.isBusy) mirror.work(256);
  const ms = performance.now() - began;
  const { counters, refusals, refusedCount } = mirror;
  process.stdout.write(`${JSON.stringify({ answer: { ...counters, refusals, refusedCount, ms } })}\n`);
}
