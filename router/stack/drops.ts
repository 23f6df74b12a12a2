/**
 * Every reason why the stack discards a packet, and every other event it counts: one registry, whose names are metric
 * labels. Counters are doubles in flat arrays: no allocation, no overflow in practice.
 */

const DROP_NAMES = [
  'not-ip',
  'truncated',
  'bad-header-length',
  'bad-length',
  'bad-header-checksum',
  'bad-transport-checksum',
  'bad-transport-header',
  'martian-source',
  'martian-destination',
  'source-route',
  'bad-option',
  'extension-headers',
  'reverse-path',
  'multicast',
  'link-local-transit',
  'hop-limit',
  'ttl-security',
  'too-big',
  'no-route',
  'blackhole',
  'unreachable',
  'prohibited',
  'link-down',
  'link-full',
  'no-source-address',
  'no-listener',
  'protocol-unreachable',
  'fragment-invalid',
  'fragment-overlap',
  'fragment-timeout',
  'fragment-limit',
  'fragment-memory',
  'icmp-rate-limit',
  'icmp-suppressed',
  'icmp-unmatched',
  'icmp-ignored',
] as const;

const EVENT_NAMES = [
  'packets-in',
  'octets-in',
  'delivered',
  'forwarded',
  'fragments-in',
  'reassembled',
  'fragmented',
  'mss-clamped',
  'icmp-errors-sent',
  'icmp-errors-received',
  'echo-replies-sent',
  'path-mtu-lowered',
  'udp-in',
  'udp-out',
  'tcp-in',
  'ping-in',
] as const;

type Numbered<T extends readonly string[]> = { readonly [K in T[number]]: number };

function numbered<T extends readonly string[]>(names: T): Numbered<T> {
  return Object.fromEntries(names.map((name, i) => [name, i])) as Numbered<T>;
}

/** Why a packet was discarded; indexes `Counters.drops`. */
export const DropReason = numbered(DROP_NAMES);
/** What else is counted; indexes `Counters.events`. */
export const StackEvent = numbered(EVENT_NAMES);

export class Counters {
  readonly drops = new Float64Array(DROP_NAMES.length);
  readonly events = new Float64Array(EVENT_NAMES.length);

  drop(reason: number): void {
    this.drops[reason]!++;
  }

  count(event: number): void {
    this.events[event]!++;
  }

  /** Drops by name, for metrics. */
  dropTotals(): Record<string, number> {
    return Object.fromEntries(DROP_NAMES.map((name, i) => [name, this.drops[i]!]));
  }

  /** Events by name, for metrics. */
  eventTotals(): Record<string, number> {
    return Object.fromEntries(EVENT_NAMES.map((name, i) => [name, this.events[i]!]));
  }
}
