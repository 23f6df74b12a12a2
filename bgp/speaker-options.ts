/** What a speaker is made with: who it is, its ports, and what it originates. */

import type { Addr, Family } from '../router/lib/addr.ts';
import type { Clock, Instant } from '../router/lib/clock.ts';
import type { PrefixTable } from '../router/lib/prefix-table.ts';
import type { PathOrigins } from './candidates.ts';
import type { SpeakerEvent } from './inbox.ts';
import type { AggregateConfig, Network } from './origination.ts';
import type { NextHopResolver, RouteSink, Transport, VpnPort } from './ports.ts';
import type { Confederation } from './relation.ts';
import type { Restarting, RestartTimes } from './restart.ts';
import type { Multipath } from './rib/multipath.ts';
import type { RoaTable } from './rpki/roa-table.ts';

export interface SpeakerOptions {
  readonly asn: number;
  /** BGP Identifier (RFC 6286): any IPv4 address other than 0.0.0.0, unique in the AS. */
  readonly routerId: Addr;
  readonly clock: Clock;
  /** Until when work may go on that begins now, for an event loop that is shared; by default for some milliseconds. */
  readonly turnEnds?: () => Instant;
  /** Uniform numbers in [0, 1), for timer jitter. */
  readonly random: () => number;
  readonly transport: Transport;
  readonly sink: RouteSink;
  /** Numbers of prefixes, where the sink has some of its own: it then has to search for none of them. */
  readonly prefixes?: (family: Family) => PrefixTable;
  /** Number of the VRF whose routes these are, as the sink's batches say it; default 0. */
  readonly vrf?: number;
  readonly resolver: NextHopResolver;
  /** Without it no VPN family should be configured: their routes would be read and forgotten. */
  readonly vpn?: VpnPort;
  /** Of a VRF: who told the VPN routes that it imports (`roomOrigins`), so that those equal in all else are told apart by that. */
  readonly pathOrigins?: PathOrigins;
  readonly networks?: readonly Network[];
  readonly aggregates?: readonly AggregateConfig[];
  /** Equal routes used at the same time; 1 = no multipath. */
  readonly multipath?: Multipath;
  /** What policies know about the origins of routes (RFC 6811); say what changed in it by `revalidate`. */
  readonly roas?: RoaTable;
  /** RFC 4456 §7: identifies us as a reflector; our BGP Identifier when missing. */
  readonly clusterId?: Addr;
  /** RFC 5065: `asn` is our member AS, and the rest of the world sees the confederation's. */
  readonly confederation?: Confederation;
  /** Told to peers in the FQDN capability. */
  readonly hostName?: string;
  /** Times of RFC 4724 and RFC 9494; who takes part is said for each peer. */
  readonly gracefulRestart?: RestartTimes;
  /** This speaker takes over from one that has just ended (RFC 4724 §4.1). */
  readonly restarting?: Restarting;
  /** Session events worth a log line. */
  readonly onEvent?: (event: SpeakerEvent) => void;
}
