/** UPDATEs whose lists are whole and whose attributes are not: values damaged, flags changed, attributes lost or doubled. */
import type { Random } from '../../router/lib/rand.ts';
import { mutated } from './mutate.ts';

interface Attribute {
  readonly flags: number;
  readonly code: number;
  readonly value: Uint8Array;
}

interface Parts {
  readonly withdrawn: Uint8Array;
  readonly attributes: readonly Attribute[];
  readonly nlri: Uint8Array;
}

/** A body made of the parts of one or two of `bodies`, each a well-formed UPDATE body. */
export function damagedUpdate(bodies: readonly Uint8Array[], random: Random): Uint8Array {
  const one = partsOf(bodies[random.below(bodies.length)]!);
  const other = partsOf(bodies[random.below(bodies.length)]!);
  const attributes = one.attributes.flatMap((a): Attribute[] => {
    const x = random.below(24);
    if (x === 0) return [];
    if (x === 1) return [a, a];
    if (x === 2) return [{ ...a, flags: a.flags ^ (1 << (4 + random.below(4))) }];
    if (x < 6) return [{ ...a, value: mutated([a.value], random) }];
    return [a];
  });
  const [borrowed] = other.attributes.slice(random.below(other.attributes.length + 1));
  if (borrowed !== undefined && random.chance(0.3)) attributes.splice(random.below(attributes.length + 1), 0, borrowed);
  const nlri = random.chance(0.1) ? mutated([one.nlri], random) : one.nlri;
  return bodyOf({ withdrawn: random.chance(0.1) ? other.withdrawn : one.withdrawn, attributes, nlri });
}

function partsOf(b: Uint8Array): Parts {
  const view = new DataView(b.buffer, b.byteOffset, b.length);
  const attributesAt = 4 + view.getUint16(0);
  const end = attributesAt + view.getUint16(attributesAt - 2);
  const attributes: Attribute[] = [];
  for (let at = attributesAt; at < end; ) {
    const isLong = (b[at]! & 0x10) !== 0;
    const valueAt = at + (isLong ? 4 : 3);
    const next = valueAt + (isLong ? view.getUint16(at + 2) : b[at + 2]!);
    attributes.push({ flags: b[at]!, code: b[at + 1]!, value: b.subarray(valueAt, next) });
    at = next;
  }
  return { withdrawn: b.subarray(2, attributesAt - 2), attributes, nlri: b.subarray(end) };
}

function bodyOf({ withdrawn, attributes, nlri }: Parts): Uint8Array {
  const octets: number[] = [withdrawn.length >>> 8, withdrawn.length & 255, ...withdrawn, 0, 0];
  const at = octets.length;
  for (const a of attributes) {
    const isLong = (a.flags & 0x10) !== 0 || a.value.length > 255;
    octets.push(isLong ? a.flags | 0x10 : a.flags, a.code);
    if (isLong) octets.push(a.value.length >>> 8);
    octets.push(a.value.length & 255, ...a.value);
  }
  octets[at - 2] = (octets.length - at) >>> 8;
  octets[at - 1] = (octets.length - at) & 255;
  return Uint8Array.from([...octets, ...nlri]);
}
