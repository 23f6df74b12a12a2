/**
 * Messages between the main thread and the routing worker (structured clone; addresses as text or
 * posted, because values with methods do not survive it). The routing worker is the single writer of the FIB and owns the BGP speaker.
 */

import type { BfdChange, BfdTarget } from '../../bgp/bfd/bfd.ts';
import type { BfdSettings } from '../../bgp/bfd/session.ts';
import type { BirdCommand } from '../birdctl/command.ts';
import type { BgpConfig } from '../config/bgp-model.ts';
import type { FpmConfig } from '../config/fpm.ts';
import type { VrfConfig } from '../config/model.ts';
import type { Answers, BgpEvent, FpmStatus, RpkiStatus, Verbs } from '../control/messages.ts';
import type { RouteSource } from '../fib/shared.ts';
import type { KernelRoutes } from '../kernel/route-mirror.ts';
import type { ErrorCode } from '../lib/errors.ts';
import type { Posted } from '../lib/post.ts';
import type { BirdPosition } from './bird-answers.ts';
import type { StreamSecurity, StreamTerms } from './dataplane-protocol.ts';
import type { FilterWatchBoot } from './filter-watch.ts';

/** A link as routing sees it. */
export interface RoutingLink {
  readonly index: number;
  readonly name: string;
  readonly vrf: number;
  readonly mtu: number;
  /** ADDR/LENGTH texts. */
  readonly addresses: readonly string[];
  /** Where the host's kernel carries it: its interface, and what sockets of our own are bound to. */
  readonly host?: { readonly interface: string; readonly device: string | undefined };
}

export interface RoutingHop {
  readonly link: number;
  readonly gateway: string | undefined;
  readonly weight: number;
}

/** One route that comes from the configuration. */
export interface ConfiguredRoute {
  readonly vrf: number;
  readonly prefix: string;
  readonly source: RouteSource;
  readonly kind: 'unicast' | 'blackhole' | 'unreachable';
  readonly hops: readonly RoutingHop[];
}

/** A VRF besides the default one. */
export interface RoutingVrf {
  readonly name: string;
  /** Its number in the FIB and the data plane. */
  readonly number: number;
  readonly config: VrfConfig;
}

/** Given to the worker at start. */
export interface RoutingBoot {
  readonly links: readonly RoutingLink[];
  readonly vrfs: Posted<readonly RoutingVrf[]>;
  readonly routes: readonly ConfiguredRoute[];
  readonly bgp: Posted<BgpConfig> | undefined;
  readonly fpm: Posted<FpmConfig> | undefined;
  /** Preferred source addresses. */
  readonly source: { readonly v4: string | undefined; readonly v6: string | undefined };
  /** Routes go into tables of the host's kernel as well. */
  readonly kernelRoutes?: KernelRoutes;
  /** Packets go by the FIB of a worker that ended; `settled` says when ours may take its place. */
  readonly restart?: RoutingTakeover;
  /** Undefined = nobody looks whether filter functions end. */
  readonly filterWatch?: FilterWatchBoot;
}

/** What a worker is told of the one before it. */
export interface RoutingTakeover {
  /** BGP peers that had a session with it. */
  readonly peers: readonly string[];
}

/** What the speaker asks of the data plane, without the id. */
export interface StreamTarget {
  readonly remote: string;
  readonly port: number;
  readonly local: string | undefined;
  readonly link: string | undefined;
  readonly security: StreamSecurity;
}

/** Read verbs the routing worker answers. */
export type RoutingVerb =
  | 'route_get'
  | 'route_show'
  | 'bgp_show'
  | 'bgp_routes'
  | 'bgp_dump'
  | 'bgp_vpn'
  | 'bgp_explain'
  | 'bgp_peer'
  | 'bgp_rpki';

/** A command of BIRD's control socket, or the rest of its reply. */
export interface BirdQuery {
  readonly verb: 'bird';
  readonly command: Posted<BirdCommand>;
  readonly from: BirdPosition | undefined;
}

export type RoutingQuery = { [V in RoutingVerb]: { readonly verb: V; readonly args: Verbs[V] } }[RoutingVerb];

/** What the daemon itself asks. */
export type RoutingOwnQuery = { readonly verb: 'summary' } | { readonly verb: 'host_bfd' };

/** Another configuration; sessions that it does not change stay. */
export interface ReloadQuery {
  readonly verb: 'reload';
  readonly boot: RoutingBoot;
}

/** All the routing worker can be asked. */
export type WorkerQuery = RoutingQuery | RoutingOwnQuery | BirdQuery | ReloadQuery;

/** Numbers `status` needs, gathered in one visit. */
export interface RoutingSummary {
  readonly routesIpv4: number;
  readonly routesIpv6: number;
  readonly bgp: Answers['bgp_show'];
  /** Undefined where ROAs play no part. */
  readonly rpki: RpkiStatus | undefined;
  readonly fpm: FpmStatus | undefined;
  /** What the host's sockets cannot do for BGP's peers. */
  readonly hostFaults: readonly string[];
  readonly counters: Readonly<Record<string, number>>;
}

export type ToRouting =
  /** The data plane serves: BGP may begin. */
  | { readonly kind: 'start' }
  | { readonly kind: 'link-state'; readonly index: number; readonly up: boolean }
  | { readonly kind: 'bgp-watch'; readonly isOn: boolean }
  | { readonly kind: 'query'; readonly id: number; readonly query: WorkerQuery }
  /** Answered at once, before all questions that wait. */
  | { readonly kind: 'roll-call'; readonly id: number }
  | { readonly kind: 'pong'; readonly id: number; readonly rttUs: number | undefined }
  | { readonly kind: 'stream-opened'; readonly id: number; readonly fd: number; readonly errno: number }
  | {
      readonly kind: 'stream-accepted';
      readonly listen: number;
      readonly fd: number;
      readonly remote: string;
      readonly local: string;
      readonly link: string | undefined;
    }
  | { readonly kind: 'bfd-change'; readonly change: BfdChange }
  /** Another worker takes over: end the BGP sessions as for a restart (RFC 4724 §4.1), then answer `stopped`. */
  | { readonly kind: 'hand-over' }
  /** End the BGP sessions with this RFC 9003 text, then answer `stopped`. */
  | { readonly kind: 'stop'; readonly reason: string };

export type FromRouting =
  | { readonly kind: 'ready'; readonly fib: unknown }
  /** What was asked for cannot be done; the worker ends. */
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  /** The FIB's arrays were replaced; the data plane must hear of it. */
  | { readonly kind: 'fib'; readonly fib: unknown }
  /** A BGP session is established, or no longer is. */
  | { readonly kind: 'session'; readonly peer: string; readonly isUp: boolean }
  /** After a restart: the FIB is as complete as it will be without further changes. */
  | { readonly kind: 'settled' }
  /** A descriptor that came with `stream-opened` or `stream-accepted` is the worker's now. */
  | { readonly kind: 'stream-taken'; readonly fd: number }
  | {
      readonly kind: 'answer';
      readonly id: number;
      readonly answer: unknown;
      readonly failure?: { readonly code: string; readonly message: string };
    }
  | { readonly kind: 'stream-connect'; readonly id: number; readonly vrf: number; readonly target: StreamTarget }
  | {
      readonly kind: 'stream-listen';
      readonly id: number;
      readonly vrf: number;
      readonly port: number;
      readonly terms: readonly StreamTerms[];
    }
  /** Answered by `pong`, or not at all. */
  | { readonly kind: 'ping'; readonly id: number; readonly remote: string; readonly link: string }
  | {
      readonly kind: 'bfd-watch';
      readonly name: string;
      readonly target: Posted<BfdTarget>;
      readonly settings: BfdSettings;
    }
  | { readonly kind: 'bfd-unwatch'; readonly name: string }
  | { readonly kind: 'stream-secure'; readonly listen: number; readonly terms: readonly StreamTerms[] }
  | { readonly kind: 'stream-unlisten'; readonly listen: number }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly component: string;
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number | boolean | undefined>>;
    }
  /** Which filter function a number in `FilterWatchBoot.marks` stands for. */
  | { readonly kind: 'filter-function'; readonly number: number; readonly key: string }
  /** Sent while somebody watches. */
  | { readonly kind: 'bgp-events'; readonly events: readonly BgpEvent[]; readonly lost: number }
  | { readonly kind: 'stopped' };
