/**
 * The control protocol's messages as TypeScript sees them; also the JSON the read commands print, hence snake_case.
 * Twin of control.proto (test/router/control/codec.test.ts encodes and decodes each).
 */

export interface Problem {
  /** What `mlshim explain` expands. */
  readonly code: string;
  readonly text: string;
}

export interface UplinkStatus {
  readonly name: string;
  readonly kind: string;
  readonly state: string;
  readonly index: number;
  readonly mtu: number;
  readonly addresses: readonly string[];
  readonly rx_packets: number;
  readonly rx_bytes: number;
  readonly tx_packets: number;
  readonly tx_bytes: number;
  readonly tx_dropped: number;
  readonly rx_bits_per_s: number;
  readonly tx_bits_per_s: number;
  readonly handshake_age_s?: number;
  /** New flows may take it: it is up, its probes are answered, and nobody drained it. */
  readonly usable: boolean;
  readonly drained: boolean;
  /** Of probes through it, where there are any: smoothed round-trip time, and part of the last ones lost (0..1). */
  readonly rtt_ms?: number;
  readonly loss?: number;
  /** TCP connections. */
  readonly flows: number;
  /** New flows that rules sent there, and times it could not be used any more. */
  readonly decisions: number;
  readonly failures: number;
  /** Smoothed deviation of the round-trip time. */
  readonly rtt_variation_ms?: number;
  /** The most it was seen to carry lately, both directions. */
  readonly peak_bits_per_s: number;
  /** Why it can or cannot be used; empty before the first probe. */
  readonly reason: string;
}

export interface BgpPeerStatus {
  readonly name: string;
  readonly asn: number;
  readonly address: string;
  readonly uplink: string;
  readonly state: string;
  readonly since_s?: number;
  readonly received: number;
  readonly accepted: number;
  readonly advertised: number;
  readonly last_error: string;
  readonly local_address: string;
  readonly hold_time_s: number;
  readonly keepalive_s: number;
  readonly capabilities: readonly string[];
  readonly remote_id: string;
  readonly messages_in: number;
  readonly messages_out: number;
  /** Average round trip to the neighbour, and the DN42 community (64511, x) it is told as, where that is measured. */
  readonly latency_ms?: number;
  readonly latency_class?: number;
  /** State of the peer's BFD session, empty without one. */
  readonly bfd: string;
  /** Routes that are kept while the peer restarts or tells them again. */
  readonly stale: number;
  /** Families that wait, for what, and for how long still: `ipv4 away, 34 s left`. */
  readonly restart: readonly string[];
  readonly local_capabilities: readonly string[];
  readonly families: readonly BgpFamilyStatus[];
  /** Seconds until each running timer fires. */
  readonly timers_s: Readonly<Record<string, number>>;
  /** UPDATEs with mistakes that did not cost the session, and the last one in words. */
  readonly faults: number;
  readonly last_fault: string;
  /** Routes refused because a function of the filter module failed, and the last failure with its place. */
  readonly filter_errors: number;
  readonly last_filter_error: string;
  /** How often the session came up. */
  readonly establishments: number;
  /** Who ended the session last (sent, received, transport; empty: nobody), and how long ago. */
  readonly last_error_origin: string;
  readonly last_error_age_s?: number;
  /** Why attempts fail since then, beside what a NOTIFICATION said. */
  readonly retry_error: string;
  /** As the file has it: all, own, none, dn42, names of policies, `rules (3)`, or `module NAME`. */
  readonly import_policy: string;
  readonly export_policy: string;
  readonly description: string;
}

/** What a session carries of one family. */
export interface BgpFamilyStatus {
  readonly family: string;
  readonly received: number;
  readonly accepted: number;
  readonly advertised: number;
  readonly stale: number;
  /** Our next hop as it is announced; empty while there is none. */
  readonly next_hop: string;
}

/** A BFD session; intervals are those in force. */
export interface BfdSessionStatus {
  /** BGP peers that are watched by it. */
  readonly peers: readonly string[];
  readonly address: string;
  readonly uplink: string;
  readonly local_address: string;
  readonly multihop: boolean;
  /** How packets are authenticated, empty when they are not. */
  readonly auth: string;
  readonly state: string;
  readonly since_s: number;
  readonly remote_state: string;
  readonly diag: string;
  readonly remote_diag: string;
  readonly tx_ms: number;
  readonly rx_ms: number;
  /** Silence that ends the session. */
  readonly detection_ms: number;
  readonly multiplier: number;
  readonly remote_multiplier: number;
  readonly discriminator: number;
  readonly remote_discriminator: number;
  readonly packets_in: number;
  readonly packets_out: number;
  /** How often it fell from Up. */
  readonly flaps: number;
}

export interface BfdSessions {
  readonly sessions: readonly BfdSessionStatus[];
  /** Packets discarded, by reason. */
  readonly drops: Readonly<Record<string, number>>;
}

/** The server other routing daemons (FRR) tell their routes to. */
export interface FpmStatus {
  readonly listen: string;
  /** connected, waiting, not listening */
  readonly state: string;
  readonly client: string;
  /** netlink or protobuf; empty before the first message. */
  readonly encoding: string;
  readonly since_s?: number;
  readonly routes: number;
  /** Routes whose next hops lead to none of our uplinks. */
  readonly unresolved: number;
  /** Routes of an earlier connection that have not been told again. */
  readonly stale: number;
  readonly next_hops: number;
  readonly messages: number;
  readonly unknown: number;
  readonly malformed: number;
  readonly ignored: number;
  readonly last_error: string;
}

export interface Status {
  readonly version: string;
  readonly pid: number;
  readonly uptime_s: number;
  readonly state: string;
  readonly config: string;
  readonly apps: number;
  readonly flows: number;
  readonly routes_ipv4: number;
  readonly routes_ipv6: number;
  readonly problems: readonly Problem[];
  readonly uplinks: readonly UplinkStatus[];
  readonly bgp_peers: readonly BgpPeerStatus[];
  readonly drops: Readonly<Record<string, number>>;
  readonly counters: Readonly<Record<string, number>>;
  /** Empty with the kernel backend. */
  readonly shim_socket: string;
  readonly backend: string;
  readonly backend_reason: string;
  readonly fpm?: FpmStatus;
}

export interface NextHopStatus {
  /** Empty: the destination itself is on the link. */
  readonly gateway: string;
  readonly uplink: string;
  readonly weight: number;
}

export interface RouteAnswer {
  readonly dst: string;
  readonly kind: string;
  readonly next_hops: readonly NextHopStatus[];
  readonly source: string;
  readonly mtu: number;
  readonly prefix: string;
  readonly origin: string;
  readonly reasons: readonly string[];
}

export interface RouteStatus {
  readonly prefix: string;
  readonly kind: string;
  readonly origin: string;
  readonly next_hops: readonly NextHopStatus[];
  readonly detail: string;
}

export interface Routes {
  readonly routes: readonly RouteStatus[];
  /** Asks for the rest as `from`; empty at the end. */
  readonly next: string;
}

export interface BgpPeers {
  readonly asn: number;
  readonly router_id: string;
  readonly peers: readonly BgpPeerStatus[];
}

export interface BgpRouteStatus {
  readonly prefix: string;
  readonly peer: string;
  readonly best: boolean;
  readonly next_hop: string;
  readonly as_path: string;
  readonly origin: string;
  readonly local_pref?: number;
  readonly med?: number;
  readonly communities: readonly string[];
  readonly uplink: string;
  /** Why it is not used; empty for a candidate. */
  readonly refused: string;
  /** valid, invalid or unknown (RFC 6811); empty where origins are not validated. */
  readonly roa: string;
  /** Since the peer told it as it is, or we originate it; not there for what we tell. */
  readonly age_s?: number;
  /** Kept while the peer restarts or tells its table again, and not told again yet. */
  readonly stale?: boolean;
  /** The AS that said "only to customers" (RFC 9234 §5). */
  readonly otc?: number;
  /** Who brought the route into its AS, where a reflector passed it on, and the reflectors on its way (RFC 4456 §8). */
  readonly originator_id?: string;
  readonly cluster_list: readonly string[];
  readonly aggregator?: BgpAggregator;
}

/** Who made an aggregate (RFC 4271 §5.1.7). */
export interface BgpAggregator {
  readonly asn: number;
  readonly address: string;
}

export interface BgpRoutes {
  readonly routes: readonly BgpRouteStatus[];
  /** The prefix or address that was asked for, empty = all of the table, or of the peer. */
  readonly place: string;
  /** Asks for the rest as `from`; empty at the end. */
  readonly next: string;
}

/** A VPN route that may be told: of a VRF of ours, or accepted from a peer. */
export interface BgpVpnRouteStatus {
  readonly rd: string;
  readonly prefix: string;
  /** 3 = implicit null (RFC 3032 §2.1). */
  readonly label: number;
  readonly next_hop: string;
  /** A peer, or the VRF of this router that it comes from: `(vrf NAME)`. */
  readonly peer: string;
  readonly best: boolean;
  readonly as_path: string;
  readonly origin: string;
  readonly local_pref: number;
  readonly med?: number;
  /** Route targets. */
  readonly targets: readonly string[];
  readonly communities: readonly string[];
  /** VRFs of this router that import it. */
  readonly vrfs: readonly string[];
  /** Its next hop cannot be reached: nobody is told it. */
  readonly unreachable: boolean;
}

export interface BgpVpnRoutes {
  readonly routes: readonly BgpVpnRouteStatus[];
  /** Asks for the rest as `from`; empty at the end. */
  readonly next: string;
}

/** A part of an MRT table (RFC 6396 §4.3): whole records. */
export interface BgpDump {
  readonly mrt: Uint8Array;
  /** Asks for the rest as `from`; empty at the end. */
  readonly next: string;
}

/** What decided about a route: a rule of a policy, the end of its rules, or a function. */
export interface BgpRule {
  /** As the peer has it: `transit-in`, `rules (3)`, dn42, none, `module NAME`. */
  readonly policy: string;
  /** The policy the rule is written in, where that is another one. */
  readonly list: string;
  /** Of the rule there, from 1 on; 0 = no rule decided. */
  readonly number: number;
  readonly name: string;
  /** `mlshim.yaml:12`, where that is known. */
  readonly place: string;
  /** How the function failed. */
  readonly error: string;
}

/** Whether a peer is told a prefix. */
export interface BgpTelling {
  readonly peer: string;
  readonly told: boolean;
  /** As they were told: one, or several with ADD-PATH. */
  readonly routes: readonly BgpRouteStatus[];
  /** Why it is not told, or which rule lets it pass; empty where only VPN routes were asked about. */
  readonly why: string;
  readonly rule?: BgpRule;
  /** VPN routes to it: all of them, or those of the VRF that was asked about. */
  readonly vpn: readonly BgpVpnTelling[];
}

/** Whether a peer is told a VPN route. */
export interface BgpVpnTelling {
  readonly route: BgpVpnRouteStatus;
  readonly told: boolean;
  /** As it was told. */
  readonly told_as?: BgpVpnRouteStatus;
  /** Why it is not told, or which rule lets it pass. */
  readonly why: string;
  readonly rule?: BgpRule;
}

export interface BgpCandidate {
  readonly route: BgpRouteStatus;
  /** Empty for the winner. */
  readonly lost_by: string;
  /** What refused it, where that was import policy. */
  readonly rule?: BgpRule;
}

export interface BgpExplanation {
  readonly prefix: string;
  readonly candidates: readonly BgpCandidate[];
  /** `172.20.0.0/24 max 24 AS4242420001`: what decides whether an origin is valid (RFC 6811). */
  readonly roas: readonly string[];
  /** What the peer is told that was asked about. */
  readonly telling?: BgpTelling;
  /** VPN routes to it, and what became of each in the VRF that was asked about. */
  readonly imports: readonly BgpVpnImport[];
}

/** A VPN route from the side of a VRF. */
export interface BgpVpnImport {
  readonly route: BgpVpnRouteStatus;
  /** The VRF has it. */
  readonly imported: boolean;
  /** By which targets and how it fares there, or why it is not imported. */
  readonly why: string;
  /** What refused it, where that was import policy. */
  readonly rule?: BgpRule;
}

/** A cache that speaks RTR. */
export interface RpkiServerStatus {
  readonly name: string;
  /** Empty: over the host's network, or by routing. */
  readonly uplink: string;
  readonly preference: number;
  /** stopped, waiting, connecting, querying, receiving, loading, synchronized */
  readonly state: string;
  readonly version: number;
  readonly session_id?: number;
  readonly serial?: number;
  readonly vrps: number;
  readonly updated_s?: number;
  readonly expires_s?: number;
  readonly last_error: string;
}

/** A file of ROAs, or a URL. */
export interface RpkiFileStatus {
  readonly name: string;
  readonly vrps: number;
  /** Since it was read with success. */
  readonly read_s?: number;
  /** Since it was written. */
  readonly age_s?: number;
  readonly failures: number;
  readonly last_error: string;
}

export interface RpkiStatus {
  readonly vrps_ipv4: number;
  readonly vrps_ipv6: number;
  /** A source has said something that is not in the table yet. */
  readonly loading: boolean;
  /** Routes judged again because ROAs changed. */
  readonly revalidated: number;
  /** After a refresh: sources that could not be asked, each with the reason. */
  readonly not_refreshed: readonly string[];
  readonly servers: readonly RpkiServerStatus[];
  readonly files: readonly RpkiFileStatus[];
}

export interface WgPeerStatus {
  readonly name: string;
  readonly public_key: string;
  readonly has_preshared_key: boolean;
  readonly endpoint: string;
  readonly allowed_ips: readonly string[];
  readonly handshake_age_s?: number;
  readonly rx_bytes: number;
  readonly tx_bytes: number;
  readonly keepalive_s: number;
}

export interface WgDeviceStatus {
  readonly name: string;
  readonly public_key: string;
  readonly listen_port: number;
  readonly peers: readonly WgPeerStatus[];
}

export interface WgDevices {
  readonly devices: readonly WgDeviceStatus[];
}

export interface Captured {
  readonly pcapng: Uint8Array;
}

/** A change of a session, or of where packets to a prefix go. */
export interface BgpEvent {
  /** Since 1970. */
  readonly time_ms: number;
  readonly kind: 'session' | 'route';
  /** The session, or the peer whose route is best; empty for our own routes. */
  readonly peer: string;
  readonly from: string;
  /** A state; or unicast, blackhole, unreachable, withdrawn. */
  readonly to: string;
  readonly why: string;
  readonly prefix: string;
  readonly as_path: string;
  /** ADDRESS%UPLINK each. */
  readonly next_hops: readonly string[];
}

export interface BgpEvents {
  readonly events: readonly BgpEvent[];
  /** Events that did not fit. */
  readonly lost: number;
}

/** One difference between the configuration that runs and the file. */
export interface ConfigChange {
  readonly path: string;
  readonly kind: string;
  readonly before: string;
  readonly after: string;
  /** What it takes: live, session, uplink or restart. */
  readonly effect: string;
}

export interface Reloaded {
  readonly file: string;
  readonly changes: readonly ConfigChange[];
  /** False when it was only asked what is different. */
  readonly applied: boolean;
  /** Seconds until the configuration before comes back unless confirmed; 0 = it does not. */
  readonly reverts_in_s: number;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly exit: number;
}

type Empty = Readonly<Record<string, never>>;

/** Arguments of each verb. */
export interface Verbs {
  readonly status: Empty;
  readonly route_get: { readonly dst: string; readonly vrf?: string };
  readonly route_show: { readonly origin: string; readonly vrf?: string; readonly from?: string };
  readonly bgp_show: { readonly peer: string };
  readonly bgp_routes: {
    readonly table: string;
    readonly peer: string;
    readonly prefix: string;
    readonly vrf?: string;
    readonly longer?: boolean;
    readonly from?: string;
    /** Instead of peer and prefix: a peer, or an address the routes around which are asked for. */
    readonly what?: string;
  };
  readonly bgp_dump: { readonly vrf: string; readonly from?: string };
  readonly bgp_vpn: { readonly rd: string; readonly prefix: string; readonly from?: string };
  readonly bgp_explain: { readonly prefix: string; readonly vrf?: string; readonly to?: string };
  readonly bgp_peer: {
    readonly peer: string;
    readonly action: string;
    readonly text?: string;
    readonly direction?: string;
  };
  readonly bgp_rpki: { readonly action: string };
  readonly bfd_show: Empty;
  readonly wg_show: { readonly device: string };
  readonly uplink_drain: { readonly uplink: string; readonly drained: boolean };
  readonly capture: { readonly uplink: string; readonly snap_length: number };
  /** `keep`: leave what the kernel backend has set up in force. */
  readonly down: { readonly keep: boolean };
  /** Move the process that asks, and so what it starts, into the cgroup of a group; empty = into none. */
  readonly join_group: { readonly group: string };
  readonly reload: { readonly check: boolean; readonly confirm_s: number };
  readonly confirm: Empty;
  readonly bgp_watch: Empty;
}

/** The router is about to stop. */
export interface Stopping {
  readonly pid: number;
  /** The routing worker does not answer: BGP peers are not told. */
  readonly routing_hangs: boolean;
}

/** Answer of each verb. */
export interface Answers {
  readonly status: Status;
  readonly route_get: RouteAnswer;
  readonly route_show: Routes;
  readonly bgp_show: BgpPeers;
  readonly bgp_routes: BgpRoutes;
  readonly bgp_dump: BgpDump;
  readonly bgp_vpn: BgpVpnRoutes;
  readonly bgp_explain: BgpExplanation;
  readonly bgp_peer: Empty;
  readonly uplink_drain: Empty;
  readonly bgp_rpki: RpkiStatus;
  readonly bfd_show: BfdSessions;
  readonly wg_show: WgDevices;
  readonly capture: Captured;
  readonly down: Stopping;
  readonly join_group: Empty;
  readonly reload: Reloaded;
  readonly confirm: Empty;
  readonly bgp_watch: BgpEvents;
}

export type Verb = keyof Verbs;

/** Verbs whose answer is a stream that ends when either side leaves. */
export type StreamVerb = 'capture' | 'bgp_watch';

/** Verbs whose answer comes in parts, each asked for with the `next` of the one before. */
export type PartsVerb = 'route_show' | 'bgp_routes' | 'bgp_dump' | 'bgp_vpn';

/** The Response field that carries each verb's answer. */
export const BODY_OF = {
  status: 'status',
  route_get: 'route',
  route_show: 'routes',
  bgp_show: 'bgp_peers',
  bgp_routes: 'bgp_routes',
  bgp_dump: 'bgp_dump',
  bgp_vpn: 'bgp_vpn',
  bgp_explain: 'bgp_explanation',
  bgp_peer: 'done',
  uplink_drain: 'done',
  bgp_rpki: 'rpki',
  bfd_show: 'bfd_sessions',
  wg_show: 'wg_devices',
  capture: 'captured',
  down: 'stopping',
  join_group: 'done',
  reload: 'reloaded',
  confirm: 'done',
  bgp_watch: 'bgp_events',
} as const satisfies Record<Verb, string>;

export type Request = { [V in Verb]: { readonly id: number; readonly verb: V; readonly args: Verbs[V] } }[Verb];

export interface Response {
  readonly id: number;
  /** Others with the same id follow. */
  readonly more: boolean;
  readonly failure?: Failure;
  readonly body?: unknown;
}
