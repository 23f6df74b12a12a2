/** Attributes nobody here understands (RFC 4271 §5, §6.3 and §9): passed on, ignored, or fatal, by their flags. */

import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { type AttributeDraft, Flag, type Flaw, flaw, putAttribute, type UnknownAttribute } from './model.ts';

export function readUnknown(flags: number, code: number, v: Uint8Array, draft: AttributeDraft): Flaw | undefined {
  if ((flags & Flag.Optional) === 0) {
    return flaw(UpdateError.UnrecognizedWellKnown, 'reset', `well-known attribute ${code} is unknown`);
  }
  // RFC 4271 §5: unrecognized non-transitive ones are quietly ignored, transitive ones passed along with Partial set.
  if ((flags & Flag.Transitive) === 0) return undefined;
  draft.unknown ??= [];
  draft.unknown.push({ flags: (flags & ~Flag.ExtendedLength & 0xf0) | Flag.Partial, code, value: v.slice() });
  return undefined;
}

export function putUnknown(w: OctetWriter, a: UnknownAttribute): void {
  putAttribute(w, a.flags, a.code, a.value);
}
