/**
 * Options that are checked, stored and answered as Linux does but change nothing in our stack, by their Linux names: an
 * app that sets one is counted, so that "it behaves differently here" has a place to look.
 * Hints about timing and memory that a kernel may ignore as well (SO_BUSY_POLL, TCP_THIN_*) are not among them.
 */
import { optionKey, SOL_SOCKET } from './option-table.ts';
import { IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP } from './proto.ts';

const NAMES: readonly (readonly [level: number, name: number, text: string])[] = [
  [SOL_SOCKET, 5, 'SO_DONTROUTE'],
  [SOL_SOCKET, 12, 'SO_PRIORITY'],
  [SOL_SOCKET, 26, 'SO_ATTACH_FILTER'],
  [SOL_SOCKET, 36, 'SO_MARK'],
  [SOL_SOCKET, 47, 'SO_MAX_PACING_RATE'],
  [SOL_SOCKET, 50, 'SO_ATTACH_BPF'],
  [SOL_SOCKET, 51, 'SO_ATTACH_REUSEPORT_CBPF'],
  [SOL_SOCKET, 52, 'SO_ATTACH_REUSEPORT_EBPF'],
  [SOL_SOCKET, 61, 'SO_TXTIME'],
  [IPPROTO_TCP, 8, 'TCP_LINGER2'],
  [IPPROTO_TCP, 9, 'TCP_DEFER_ACCEPT'],
  [IPPROTO_TCP, 10, 'TCP_WINDOW_CLAMP'],
  [IPPROTO_TCP, 13, 'TCP_CONGESTION'],
  [IPPROTO_TCP, 23, 'TCP_FASTOPEN'],
  [IPPROTO_TCP, 25, 'TCP_NOTSENT_LOWAT'],
  [IPPROTO_TCP, 27, 'TCP_SAVE_SYN'],
  [IPPROTO_TCP, 30, 'TCP_FASTOPEN_CONNECT'],
  [IPPROTO_TCP, 36, 'TCP_INQ'],
  [IPPROTO_TCP, 37, 'TCP_TX_DELAY'],
  [IPPROTO_IP, 4, 'IP_OPTIONS'],
  [IPPROTO_IP, 32, 'IP_MULTICAST_IF'],
  [IPPROTO_IP, 33, 'IP_MULTICAST_TTL'],
  [IPPROTO_IP, 35, 'IP_ADD_MEMBERSHIP'],
  [IPPROTO_IP, 39, 'IP_ADD_SOURCE_MEMBERSHIP'],
  [IPPROTO_IP, 42, 'MCAST_JOIN_GROUP'],
  [IPPROTO_IP, 51, 'IP_LOCAL_PORT_RANGE'],
  [IPPROTO_IPV6, 17, 'IPV6_MULTICAST_IF'],
  [IPPROTO_IPV6, 18, 'IPV6_MULTICAST_HOPS'],
  [IPPROTO_IPV6, 20, 'IPV6_ADD_MEMBERSHIP'],
  [IPPROTO_IPV6, 42, 'MCAST_JOIN_GROUP'],
  [IPPROTO_IPV6, 54, 'IPV6_HOPOPTS'],
  [IPPROTO_IPV6, 57, 'IPV6_RTHDR'],
  [IPPROTO_IPV6, 59, 'IPV6_DSTOPTS'],
  [IPPROTO_UDP, 100, 'UDP_ENCAP'],
];

/** Names of the counters, by option key. */
export const IDLE_OPTIONS: ReadonlyMap<number, string> = new Map(
  NAMES.map(([level, name, text]) => [optionKey(level, name), `withoutEffect_${text}`]),
);
