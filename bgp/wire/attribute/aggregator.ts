/**
 * AGGREGATOR and AS4_AGGREGATOR: who formed an aggregate.
 * Read first: RFC 4271 §5.1.7, RFC 6793 §4.2.3, RFC 7606 §7.7, RFC 7607 §2.
 */

import { get16, get32 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AS_TRANS } from './as-path.ts';
import {
  type Aggregator,
  AttributeCode,
  type AttributeCodec,
  flaw,
  OPTIONAL_TRANSITIVE,
  putAttributeHeader,
} from './model.ts';

export const AGGREGATOR: AttributeCodec = {
  code: AttributeCode.Aggregator,
  name: 'AGGREGATOR',
  flags: OPTIONAL_TRANSITIVE,
  decode(v, draft, context) {
    const width = context.fourOctetAs ? 4 : 2;
    if (v.length !== width + 4) return flaw(UpdateError.Length, 'discard', `AGGREGATOR of ${v.length} octets`);
    const asn = width === 4 ? get32(v, 0) >>> 0 : get16(v, 0);
    if (asn === 0) return flaw(UpdateError.OptionalAttribute, 'discard', 'AGGREGATOR names AS 0'); // RFC 7607 §2
    draft.aggregator = { asn, identifier: get32(v, width) >>> 0 };
    return undefined;
  },
};

export const AS4_AGGREGATOR: AttributeCodec = {
  code: AttributeCode.As4Aggregator,
  name: 'AS4_AGGREGATOR',
  flags: OPTIONAL_TRANSITIVE,
  flagsHandling: 'discard', // RFC 6793 §6, as for AS4_PATH
  decode(v, draft, context) {
    if (context.fourOctetAs) {
      return flaw(UpdateError.OptionalAttribute, 'discard', 'AS4_AGGREGATOR on a 4-octet AS session');
    }
    if (v.length !== 8) return flaw(UpdateError.Length, 'discard', `AS4_AGGREGATOR of ${v.length} octets`);
    const asn = get32(v, 0) >>> 0;
    if (asn === 0) return flaw(UpdateError.OptionalAttribute, 'discard', 'AS4_AGGREGATOR names AS 0'); // RFC 7607 §2
    draft.as4Aggregator = { asn, identifier: get32(v, 4) >>> 0 };
    return undefined;
  },
};

export function putAggregator(w: OctetWriter, a: Aggregator, fourOctetAs: boolean): void {
  putAttributeHeader(w, OPTIONAL_TRANSITIVE, AttributeCode.Aggregator, fourOctetAs ? 8 : 6);
  if (fourOctetAs) w.u32(a.asn);
  else w.u16(a.asn > 0xffff ? AS_TRANS : a.asn);
  w.u32(a.identifier);
}

/** RFC 6793 §4.2.2: only a number that needs four octets is repeated in AS4_AGGREGATOR. */
export function putAs4Aggregator(w: OctetWriter, a: Aggregator): void {
  if (a.asn <= 0xffff) return;
  putAttributeHeader(w, OPTIONAL_TRANSITIVE, AttributeCode.As4Aggregator, 8);
  w.u32(a.asn);
  w.u32(a.identifier);
}
