/**
 * The room's end of a session with one VRF's speaker: takes the VRF's best routes out of UPDATEs, and announces VPN routes
 * to it under path identifiers. What was announced is remembered, because a speaker may come later or again.
 * After a start the VRF is told by End-of-RIB when it has all there is (RFC 4724 §4.1).
 */

import type { Family, Prefix } from '../../router/lib/addr.ts';
import type { PathOrigin } from '../candidates.ts';
import type { FarEnd } from '../pipe.ts';
import type { Attributes, NextHop, WireContext } from '../wire/attribute/model.ts';
import { AttributeCode, OPTIONAL, putAttribute } from '../wire/attribute/model.ts';
import { putReachHead } from '../wire/attribute/mp-reach.ts';
import { putUnreachHead } from '../wire/attribute/mp-unreach.ts';
import { putAttributes } from '../wire/attribute/table.ts';
import { FAMILIES, PLAIN_FACTS } from '../wire/family.ts';
import { beginMessage, endMessage, MessageType } from '../wire/message.ts';
import { prefixesOf, putPrefixValue } from '../wire/nlri.ts';
import { OctetWriter } from '../wire/octets.ts';
import { decodeUpdate } from '../wire/update.ts';

export interface VrfRoute {
  readonly prefix: Prefix;
  /** Undefined = the VRF has no route of its own to this prefix any more. */
  readonly attributes: Attributes | undefined;
  readonly hop: NextHop | undefined;
}

export interface VrfEndHost {
  route(route: VrfRoute): void;
  /** The VRF has told its whole table of a family. */
  endOfRib(family: Family): void;
  ended(): void;
}

interface Announced {
  readonly prefix: Prefix;
  readonly number: number;
  readonly octets: Uint8Array;
  readonly origin: PathOrigin | undefined;
}

const FAMILY_NUMBERS: readonly Family[] = [4, 6];

const facts = { ...PLAIN_FACTS, extendedNextHop: true };
/** How we read what the VRF's speaker says: an internal session with everything the pipe's OPEN offers. */
const CONTEXT: WireContext = {
  fourOctetAs: true,
  external: false,
  families: { ipv4: facts, ipv6: facts },
  firstAs: undefined,
  // Paths may have segments of our confederation, where there is one.
  confederation: 'inside',
};

export class VrfEnd implements FarEnd {
  readonly open: FarEnd['open'];
  readonly #host: VrfEndHost | undefined;
  #isComplete = false;
  /** Which session with the VRF's speaker this is, or was last. */
  #session = 0;
  readonly #announced = new Map<number, Announced>();
  #tell: ((octets: Uint8Array) => void) | undefined;

  /** @param host undefined where only the VRF is told something */
  constructor(localAs: number, identifier: number, host?: VrfEndHost) {
    this.#host = host;
    const both = [FAMILIES.ipv4, FAMILIES.ipv6];
    this.open = {
      asn: localAs,
      identifier,
      capabilities: [
        ...both.map((f) => ({ kind: 'multiprotocol', ...f }) as const),
        { kind: 'extended-next-hop', entries: [{ ...FAMILIES.ipv4, nextHopAfi: 2 }] },
        { kind: 'extended-message' },
        // We never restart alone, but the VRF may wait for our End-of-RIB.
        { kind: 'graceful-restart', flags: 0, timeS: 0, families: [] },
        { kind: 'add-path', entries: both.map((f) => ({ ...f, mode: 2 })) },
      ],
    };
  }

  get session(): number {
    return this.#session;
  }

  begin(tell: (octets: Uint8Array) => void): void {
    this.#session++;
    this.#tell = tell;
    for (const a of this.#announced.values()) tell(a.octets);
    if (this.#isComplete) this.#tellEnd();
  }

  /** What has been announced until now is all there is at the beginning. */
  complete(): void {
    this.#isComplete = true;
    this.#tellEnd();
  }

  #tellEnd(): void {
    for (const family of FAMILY_NUMBERS) {
      this.#tell?.(
        message((w) => {
          const v = new OctetWriter(3);
          putUnreachHead(v, family);
          putAttribute(w, OPTIONAL, AttributeCode.MpUnreach, v.take());
        }),
      );
    }
  }

  ended(): void {
    this.#tell = undefined;
    this.#host?.ended();
  }

  update(body: Uint8Array): void {
    const u = decodeUpdate(body, CONTEXT);
    if ('handling' in u || this.#host === undefined) return; // our own speaker's; it makes no mistakes of this kind
    if (u.endOfRib !== undefined) this.#host.endOfRib(u.endOfRib === 'ipv4' ? 4 : 6);
    for (const nlri of u.withdrawn) {
      for (const prefix of prefixesOf(nlri)) this.#host.route({ prefix, attributes: undefined, hop: undefined });
    }
    for (const { nlri, nextHop } of u.reach) {
      for (const prefix of prefixesOf(nlri)) this.#host.route({ prefix, attributes: u.attributes, hop: nextHop });
    }
  }

  announce(
    route: { readonly prefix: Prefix; readonly attributes: Attributes; readonly hop: NextHop },
    number: number,
    origin?: PathOrigin,
  ): void {
    const { prefix, attributes, hop } = route;
    const octets = message((w) => {
      const v = new OctetWriter(64);
      putReachHead(v, prefix.family, hop, 'native');
      v.u32(number);
      putPrefixValue(v, prefix);
      putAttribute(w, OPTIONAL, AttributeCode.MpReach, v.take());
      // An internal session asks for LOCAL_PREF; an external VPN session brought none.
      putAttributes(w, { ...attributes, localPref: attributes.localPref ?? 100 }, undefined, true);
    });
    this.#announced.set(number, { prefix, number, octets, origin });
    this.#tell?.(octets);
  }

  /** Who told what is announced under a number. */
  originOf(number: number): PathOrigin | undefined {
    return this.#announced.get(number)?.origin;
  }

  withdraw(prefix: Prefix, number: number): void {
    if (!this.#announced.delete(number)) return;
    this.#tell?.(
      message((w) => {
        const v = new OctetWriter(64);
        putUnreachHead(v, prefix.family);
        v.u32(number);
        putPrefixValue(v, prefix);
        putAttribute(w, OPTIONAL, AttributeCode.MpUnreach, v.take());
      }),
    );
  }
}

function message(attributes: (w: OctetWriter) => void): Uint8Array {
  const w = new OctetWriter(256);
  const start = beginMessage(w, MessageType.Update);
  w.u16(0);
  const lengthAt = w.length;
  w.u16(0);
  attributes(w);
  w.patch16(lengthAt, w.length - lengthAt - 2);
  endMessage(w, start);
  return w.take();
}
