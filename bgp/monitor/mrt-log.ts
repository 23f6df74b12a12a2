/**
 * What happens on the sessions as MRT records: every UPDATE that came, and sessions that came up or ended.
 * Read first: RFC 6396 §4.4, RFC 8050 §3. Octets gather in `take`; the edge writes them to a file.
 */

import { Addr } from '../../router/lib/addr.ts';
import { get16 } from '../../router/lib/bytes.ts';
import { AttributeCode, Flag } from '../wire/attribute/model.ts';
import { type FamilyName, familyNamed } from '../wire/family.ts';
import { HEADER_OCTETS } from '../wire/message.ts';
import { type MrtEnds, MrtWriter } from '../wire/mrt.ts';
import type { Monitor, MonitoredSession } from './monitor.ts';

/** States by number (RFC 6396 §4.4.1). */
const IDLE = 1;
const OPEN_CONFIRM = 5;
const ESTABLISHED = 6;

export class MrtLog implements Monitor {
  readonly #writer = new MrtWriter();
  readonly #wallMs: () => number;

  /** @param wallMs milliseconds since 1970 */
  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  /** Octets that wait. */
  get pending(): number {
    return this.#writer.out.length;
  }

  /** What has gathered. */
  take(): Uint8Array {
    const { out } = this.#writer;
    const octets = out.take();
    out.clear();
    return octets;
  }

  up(s: MonitoredSession): void {
    this.#writer.state(this.#now(), endsOf(s), OPEN_CONFIRM, ESTABLISHED);
  }

  down(s: MonitoredSession): void {
    this.#writer.state(this.#now(), endsOf(s), ESTABLISHED, IDLE);
  }

  received(s: MonitoredSession, update: Uint8Array): void {
    const { families } = s.negotiated.context;
    const family = familyOfUpdate(update);
    const hasPathIds = family !== undefined && families[family]?.receivesPathIds === true;
    this.#writer.message(this.#now(), endsOf(s), hasPathIds, update);
  }

  #now(): number {
    return Math.floor(this.#wallMs() / 1000);
  }
}

function endsOf(s: MonitoredSession): MrtEnds {
  const { local, peerAs, context } = s.negotiated;
  const none = s.address.family === 4 ? Addr.v4(0) : Addr.v6(0, 0, 0, 0);
  return {
    peerAs,
    localAs: local.capabilities.find((c) => c.kind === 'four-octet-as')?.asn ?? local.asn,
    interface: 0,
    peer: s.address,
    local: s.local ?? none,
    fourOctetAs: context.fourOctetAs,
  };
}

/** The family whose prefixes an UPDATE carries; undefined when there are none. Trusts nothing: the message is unread. */
function familyOfUpdate(update: Uint8Array): FamilyName | undefined {
  const b = update.subarray(HEADER_OCTETS);
  const attributesAt = 4 + (b.length >= 4 ? get16(b, 0) : 0);
  if (b.length < attributesAt) return undefined;
  const end = attributesAt + get16(b, attributesAt - 2);
  if (attributesAt > 4 || end < b.length) return 'ipv4';
  for (let at = attributesAt; at + 4 <= end && end <= b.length; ) {
    const isLong = (b[at]! & Flag.ExtendedLength) !== 0;
    const valueAt = at + (isLong ? 4 : 3);
    const code = b[at + 1]!;
    const isMp = code === AttributeCode.MpReach || code === AttributeCode.MpUnreach;
    if (isMp && valueAt + 3 <= end) return familyNamed(get16(b, valueAt), b[valueAt + 2]!);
    at = valueAt + (isLong ? get16(b, at + 2) : b[at + 2]!);
  }
  return undefined;
}
