/**
 * Messages between the data-plane worker and the other threads (structured clone over a MessagePort; the sender signals
 * the worker's wake eventfd after posting). Control plane only: nothing here happens per packet.
 */

import type { BfdChange, BfdTarget } from '../../bgp/bfd/bfd.ts';
import type { BfdSettings } from '../../bgp/bfd/session.ts';
import type { ProbeConfig } from '../config/model.ts';
import type { Addr } from '../lib/addr.ts';
import type { HostWay } from '../lib/host-way.ts';
import type { Posted } from '../lib/post.ts';
import type { UplinkGroup } from '../uplink/balancer.ts';
import type { HealthState } from '../uplink/health.ts';
import type { ProbeResult } from '../uplink/probe.ts';
import type { Rule } from '../uplink/rule.ts';
import type { WayQuality } from '../uplink/way.ts';

/** Given to the worker at start. */
export interface DataplaneBoot {
  readonly memory: WebAssembly.Memory;
  /**
   * First world offset that belongs to the worker (a multiple of 65536); everything from here to the end is its own.
   * Below it the main thread places what it makes, the rings above all. At least `bufferBytes` + 16 MiB must be left.
   */
  readonly arenaAt: number;
  /** Eventfd that wakes the worker when a message was posted. */
  readonly wakeFd: number;
  /** Listening SOCK_SEQPACKET socket for shim requests, made by the main thread (mode 0600). */
  readonly shimFd: number;
  /** Session number, part of every socket's name. */
  readonly session: number;
  /** FIB shared state (router/fib), see FibShared. */
  readonly fib: unknown;
  readonly settings: DataplaneSettings;
}

export interface DataplaneSettings {
  /** Upper bound of TCP and reassembly buffer memory, octets. */
  readonly bufferBytes: number;
  /** Where 127.0.0.0/8 and ::1 live (DESIGN: `--loopback stack` is for test suites). */
  readonly loopback: 'kernel' | 'stack';
  /** Name servers inside the uplinks, in order, as address text (with %uplink for link-local), and search domains. */
  readonly dns: { readonly servers: readonly string[]; readonly search: readonly string[] };
  /** The host's own name servers (its resolver file): queries apps send there are answered through `dns.servers`. */
  readonly hostNameServers: readonly string[];
  /** Preferred source addresses for locally originated flows, per family; undefined = the outgoing link's address. */
  readonly source: { readonly v4: string | undefined; readonly v6: string | undefined };
  readonly policy: Posted<PolicySettings>;
}

/** An uplink as rules use it. */
export interface PolicyUplink {
  readonly name: string;
  /** Index of its link; a host uplink has a number of the same kind and no link. */
  readonly link: number;
  /** Undefined = a link of the stack's. */
  readonly host: HostWay | undefined;
  /** Resolvers that are reached through it. */
  readonly dns: readonly Addr[];
  /** Octets per second, 0 = unknown. */
  readonly capacity: number;
  readonly probe: ProbeConfig | undefined;
  /** Families of flows that it is for (Families); undefined = those of the addresses that the host has there. */
  readonly families: number | undefined;
  /** Flows that rules sent through it are reset when it goes down. */
  readonly endsFlows: boolean;
}

export interface PolicySettings {
  readonly rules: readonly Rule[];
  readonly groups: readonly UplinkGroup[];
  /** By the index that groups name. */
  readonly uplinks: readonly PolicyUplink[];
}

/** Answer to `uplinks`, one per uplink. */
export interface UplinkReport extends WayQuality {
  readonly name: string;
  readonly state: HealthState;
  readonly isDrained: boolean;
  /** Its link is up, and it has probes. */
  readonly isProbed: boolean;
  /** New flows may take it. */
  readonly isUsable: boolean;
  /** New flows that rules sent there. */
  readonly decisions: number;
  /** Times it could not be used any more. */
  readonly failures: number;
  /** The most it was seen to carry lately, octets per second. */
  readonly peak: number;
  /** TCP connections of apps and our own; of a host uplink 0, since the kernel has them. */
  readonly flows: number;
}

/** One tunnel as the data plane sees it. */
export interface LinkSpec {
  /** Interface index, unique and never reused. 1 is the loopback interface, so tunnels start at 2. */
  readonly index: number;
  readonly name: string;
  readonly vrf: number;
  readonly mtu: number;
  /** Which ring it lives on, and the device number in that ring's records. */
  readonly child: number;
  readonly device: number;
  /** ADDR/LENGTH texts. */
  readonly addresses: readonly string[];
}

/** How a stream's segments are sent and what they must bring. */
export interface StreamSecurity {
  /** TTL or hop limit of what we send. */
  readonly ttl?: number | undefined;
  /** What comes with less is dropped (RFC 5082). */
  readonly minTtl?: number | undefined;
  /** Sign segments with this key, and take none that is not (RFC 2385). */
  readonly password?: string | undefined;
}

/** What a listener asks of the remotes of a prefix; of several the longest decides. */
export interface StreamTerms extends StreamSecurity {
  readonly from: string;
  /** The uplink of link-local remotes. */
  readonly link: string | undefined;
}

/** To the data plane. Every message with `id` is answered by a `reply` with the same id. */
export type ToDataplane =
  | {
      readonly kind: 'attach-child';
      readonly child: number;
      readonly base: number;
      readonly ringBytes: number;
      readonly rxEventFd: number;
      readonly txEventFd: number;
    }
  | { readonly kind: 'detach-child'; readonly child: number }
  | { readonly kind: 'link-add'; readonly link: LinkSpec }
  | { readonly kind: 'link-remove'; readonly index: number }
  | { readonly kind: 'link-state'; readonly index: number; readonly up: boolean }
  /** The addresses a host uplink has now; none = it is down. */
  | { readonly kind: 'host-state'; readonly link: number; readonly addresses: readonly string[] }
  /** The host's addresses on all its interfaces, while some uplink is one of the host. */
  | { readonly kind: 'host-own'; readonly addresses: readonly string[] }
  /** Octets the interfaces of host uplinks have carried so far, both directions. */
  | { readonly kind: 'host-octets'; readonly octets: ReadonlyMap<number, number> }
  /** Whether the tunnel of a link carries packets, by its handshakes. */
  | { readonly kind: 'tunnel-state'; readonly index: number; readonly isAlive: boolean }
  /** What became of a probe that `host-probe` asked for. */
  | { readonly kind: 'host-probed'; readonly uplink: string; readonly probe: number; readonly result: ProbeResult }
  | { readonly kind: 'settings'; readonly settings: DataplaneSettings }
  /** The FIB grew new shared arrays (router/fib). */
  | { readonly kind: 'fib'; readonly fib: unknown }
  /** The FIB of another writer takes the place of the present one. */
  | { readonly kind: 'fib-replace'; readonly fib: unknown }
  /** Open a stream socket of our stack for a control-plane user; answered with { fd } or { errno }. */
  | {
      readonly kind: 'stream-connect';
      readonly id: number;
      readonly vrf: number;
      readonly remote: string;
      readonly port: number;
      readonly local?: string;
      readonly link?: string;
      readonly tos?: number;
      readonly security?: StreamSecurity;
    }
  /** Listen; answered with { fd } or { errno }; each connection then arrives as `accepted` with this id. */
  | {
      readonly kind: 'stream-listen';
      readonly id: number;
      readonly vrf: number;
      readonly local?: string;
      readonly link?: string;
      readonly port: number;
      readonly terms?: readonly StreamTerms[];
    }
  /** Whom a listener expects from now on, and how. */
  | { readonly kind: 'stream-secure'; readonly listen: number; readonly terms: readonly StreamTerms[] }
  | { readonly kind: 'stream-unlisten'; readonly listen: number }
  /** Watch a neighbour by BFD in somebody's name; changes come as `bfd-change`. */
  | {
      readonly kind: 'bfd-watch';
      readonly name: string;
      readonly target: Posted<BfdTarget>;
      readonly settings: BfdSettings;
    }
  | { readonly kind: 'bfd-unwatch'; readonly name: string }
  | { readonly kind: 'bfd-show'; readonly id: number }
  /** One echo request out of an uplink; answered with { rttUs } or an errno, not at all when nobody answers. */
  | { readonly kind: 'ping'; readonly id: number; readonly remote: string; readonly link: string }
  | { readonly kind: 'uplinks'; readonly id: number }
  /** Take an uplink out for new flows, or put it back; answered with { found }. */
  | { readonly kind: 'drain-uplink'; readonly id: number; readonly name: string; readonly isDrained: boolean }
  | { readonly kind: 'stats'; readonly id: number }
  | { readonly kind: 'flows'; readonly id: number }
  | {
      readonly kind: 'capture-start';
      readonly id: number;
      readonly link: number | undefined;
      readonly snapLength: number;
    }
  | { readonly kind: 'capture-stop'; readonly id: number }
  | { readonly kind: 'drain'; readonly id: number }
  | { readonly kind: 'stop' };

/** From the data plane. */
export type FromDataplane =
  | { readonly kind: 'ready' }
  | { readonly kind: 'reply'; readonly id: number; readonly result: unknown; readonly errno?: number }
  | {
      readonly kind: 'accepted';
      readonly listen: number;
      readonly fd: number;
      readonly remote: string;
      readonly remotePort: number;
      readonly local: string;
      readonly link: string | undefined;
    }
  | { readonly kind: 'bfd-change'; readonly change: BfdChange }
  /** An app's kernel socket leaves by a host uplink from now on. */
  | { readonly kind: 'host-flow'; readonly link: number; readonly pid: number; readonly inode: number }
  | { readonly kind: 'uplink-state'; readonly name: string; readonly state: HealthState; readonly reason: string }
  /** Probe a path of the host; answered by `host-probed`, unless nobody answers. */
  | { readonly kind: 'host-probe'; readonly uplink: string; readonly probe: number; readonly target: number }
  | { readonly kind: 'host-probe-end'; readonly uplink: string }
  /** pcapng-ready packets: link index, wall-clock microseconds, direction, octets (already cut to the snap length). */
  | {
      readonly kind: 'captured';
      readonly id: number;
      readonly packets: readonly {
        readonly link: number;
        readonly timeUs: number;
        readonly out: boolean;
        readonly length: number;
        readonly bytes: Uint8Array;
      }[];
    }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly component: string;
      readonly message: string;
    };

/** Answer to `stats`. Counters are totals since start; names are metric labels. */
export interface DataplaneStats {
  readonly links: readonly {
    readonly index: number;
    readonly rxPackets: number;
    readonly rxBytes: number;
    readonly txPackets: number;
    readonly txBytes: number;
    readonly txDropped: number;
  }[];
  /** Drops by reason, and every other named counter. */
  readonly drops: Readonly<Record<string, number>>;
  readonly counters: Readonly<Record<string, number>>;
  readonly tcpConnections: number;
  readonly apps: number;
  readonly sockets: number;
}
