/** Batches of route changes as plain values, for sinks that prefer comfort to speed. The FIB reads the columns itself. */

import type { Prefix } from '../router/lib/addr.ts';
import type { RouteBatch, RouteSink, Way } from './ports.ts';
import { prefixFromWords } from './wire/nlri.ts';

/** One change of a best route. */
export interface RouteChange {
  readonly vrf: number;
  readonly prefix: Prefix;
  /** Undefined = no route any more. */
  readonly way: Way | undefined;
}

/** The changes of a batch, to be read before the sink returns. */
export function* changesOf(batch: RouteBatch): Generator<RouteChange> {
  const { vrf, family, w0, w1, w2, w3, length } = batch;
  for (let i = 0; i < batch.count; i++) {
    const prefix =
      family === 4
        ? prefixFromWords(4, w0[i]!, 0, 0, 0, length[i]!)
        : prefixFromWords(6, w0[i]!, w1[i]!, w2[i]!, w3[i]!, length[i]!);
    yield { vrf, prefix, way: batch.ways[batch.way[i]!] };
  }
}

/** A sink that calls `onChange` for each route. */
export function eachRoute(onChange: (change: RouteChange) => void): RouteSink {
  return {
    apply: (batch) => {
      for (const change of changesOf(batch)) onChange(change);
    },
  };
}
