/** Batches of route changes as plain values, for sinks that prefer comfort to speed. The FIB reads the columns itself. */

import type { Prefix } from '../router/lib/addr.ts';
import type { RouteBatch, RouteSink, Way } from './ports.ts';

/** One change of a best route. */
export interface RouteChange {
  readonly vrf: number;
  readonly prefix: Prefix;
  /** Undefined = no route any more. */
  readonly way: Way | undefined;
}

/** The changes of a batch, to be read before the sink returns. */
export function* changesOf(batch: RouteBatch): Generator<RouteChange> {
  const { vrf, prefixes, prefix, ways, way } = batch;
  for (let i = 0; i < batch.count; i++) yield { vrf, prefix: prefixes.prefix(prefix[i]!), way: ways[way[i]!] };
}

/** A sink that calls `onChange` for each route. */
export function eachRoute(onChange: (change: RouteChange) => void): RouteSink {
  return {
    apply: (batch) => {
      for (const change of changesOf(batch)) onChange(change);
    },
  };
}
