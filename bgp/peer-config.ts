/** What is said about a peer when it is added. What each setting does stands in the files that read it. */

import type { Addr, Prefix } from '../router/lib/addr.ts';
import type { RemovePrivateAs } from './export.ts';
import type { AsMatch, Role } from './fsm/negotiate.ts';
import type { MaxPrefixes } from './limits.ts';
import type { Policy } from './policy/rule.ts';
import type { LinkId } from './ports.ts';
import type { LocalAs } from './relation.ts';
import type { LinkLocalForm } from './wire/attribute/mp-reach.ts';
import type { FamilyName } from './wire/family.ts';

/** A peer as configured. Everything but the first four has a default. */
export interface PeerConfig {
  /** Unique among the peers of a speaker. */
  readonly name: string;
  readonly address: Addr;
  /** The uplink the session runs over and its next hops are bound to. */
  readonly link: LinkId;
  /** The AS the peer must be in; several external ones where it is not known beforehand. */
  readonly asn: AsMatch;
  readonly port?: number;
  readonly localAddress?: Addr;
  /** The peer is not a direct neighbour: how many hops away it may be, true = any number. */
  readonly multihop?: boolean | number;
  /** RFC 5082: only packets of peers this near are taken. */
  readonly ttlSecurity?: boolean;
  /** The session waits until BFD is up, and again after it went down. */
  readonly bfdStrict?: boolean;
  /** RFC 2385: TCP MD5 signature. */
  readonly password?: string;
  readonly passive?: boolean;
  readonly families?: readonly FamilyName[];
  /** RFC 8950: IPv4 routes over an IPv6 session without an IPv4 address on the uplink. */
  readonly extendedNextHop?: boolean;
  readonly extendedMessages?: boolean;
  readonly holdTimeS?: number;
  /** RFC 9687: how long a peer may take nothing from us; default eight minutes or twice the hold time. */
  readonly sendHoldMs?: number;
  /** First pause between attempts to connect; it doubles up to 30 s, or up to itself when that is longer. */
  readonly connectRetryMs?: number;
  /** RFC 4271 §8.1.1 */
  readonly delayOpenMs?: number;
  /** False for route servers, which do not put their own AS into paths. */
  readonly enforceFirstAs?: boolean;
  /** How often our own AS may stand in a path we accept. */
  readonly allowOwnAs?: number;
  /** Parts of our own networks that are the peer's: routes to them and into them are for import policy to judge. */
  readonly delegated?: readonly Prefix[];
  /** RFC 8212: without a policy an external peer gets nothing and gives nothing; an internal one everything. */
  readonly import?: Policy;
  readonly export?: Policy;
  /** Addresses to announce as our own next hop instead of the session's. */
  readonly nextHop4?: Addr;
  readonly nextHop6?: Addr;
  /** How a link-local next hop is sent when there is no global one. */
  readonly linkLocalForm?: LinkLocalForm;
  /** draft-ietf-idr-linklocal-capability: tell the peer that we read a link-local next hop alone. Default: not told. */
  readonly linkLocalCapability?: boolean;
  /** RFC 7911: several paths to a prefix are received, sent, or both. Default: neither. */
  readonly addPath?: 'receive' | 'send' | 'both';
  /** How many paths to a prefix are sent at most, the best ones; default all that export policy lets pass. */
  readonly addPathLimit?: number;
  /**
   * RFC 4724: true = we may restart and want our routes kept meanwhile, 'helper' = we keep those of a peer that restarts,
   * false = restarts are not spoken of. Default 'helper'.
   */
  readonly gracefulRestart?: boolean | 'helper';
  /** RFC 9234: our role towards the peer; `strictRole` refuses a peer that tells none. */
  readonly role?: Role;
  readonly strictRole?: boolean;
  /** Announce ourselves to internal peers as the next hop of routes learned from outside; 'all' = of reflected ones too. */
  readonly nextHopSelf?: boolean | 'all';
  /** RFC 4456 §6: we reflect routes to and from this internal peer. */
  readonly routeReflectorClient?: boolean;
  /** RFC 7705: another AS of ours, towards this external peer only. */
  readonly localAs?: LocalAs;
  /** Put our AS in the place of the peer's in paths told to it: two sites of one customer with the same AS. */
  readonly asOverride?: boolean;
  readonly removePrivateAs?: RemovePrivateAs;
  /** Tell the peer a default route of our own. */
  readonly defaultOriginate?: boolean;
  /** RFC 8326 §4: the session is about to be shut down: routes over it become everybody's last choice. */
  readonly gracefulShutdown?: boolean;
  /** RFC 7999: routes of this peer with the BLACKHOLE community discard their traffic. */
  readonly acceptBlackhole?: boolean;
  /** Leave the next hop alone where it lies on the peer's own uplink (RFC 4271 §5.1.3). */
  readonly thirdPartyNextHop?: boolean;
  /** More prefixes than this in one family end the session (RFC 4486). A number is that limit alone. */
  readonly maxPrefixes?: number | MaxPrefixes;
  /** Configured but down. */
  readonly shutdown?: boolean;
}
