/**
 * Arithmetic on lists of prefixes, and AS numbers as text: the one door to ip-num. For configuration only: ip-num's
 * bigint objects cost microseconds where `Prefix` costs nanoseconds.
 */
import { Asn, IPv4CidrRange, IPv6CidrRange } from 'ip-num';
import { Prefix } from './addr.ts';

type CidrRange = IPv4CidrRange | IPv6CidrRange;

function rangeOf(p: Prefix): CidrRange {
  return p.family === 4 ? IPv4CidrRange.fromCidr(String(p)) : IPv6CidrRange.fromCidr(String(p));
}

function prefixOf(r: CidrRange): Prefix {
  // ip-num prints IPv6 uncompressed; Prefix reads either form.
  return Prefix.parse(r.toCidrString())!;
}

/**
 * The shortest list of prefixes that covers exactly the addresses of `prefixes` that are in none of `excluded`: what
 * calculators for WireGuard's AllowedIPs print. Order follows `prefixes`, then address.
 */
export function subtractPrefixes(prefixes: readonly Prefix[], excluded: readonly Prefix[]): Prefix[] {
  const out: Prefix[] = [];
  for (const prefix of prefixes) {
    const holes = excluded.filter((e) => e.family === prefix.family).map(rangeOf);
    collect(rangeOf(prefix), holes, out);
  }
  return out;
}

/** Append the parts of `whole` outside every hole: halves are split until a half is all in or all out. */
function collect(whole: CidrRange, holes: readonly CidrRange[], out: Prefix[]): void {
  const relevant = holes.filter((hole) => hole.isOverlapping(whole as never));
  if (relevant.length === 0) out.push(prefixOf(whole));
  else if (!relevant.some((hole) => hole.contains(whole as never)))
    for (const half of whole.split()) collect(half, relevant, out);
}

/** An AS number in asplain, asdot or asdot+ notation (RFC 5396 §2), with or without "AS"; undefined when it is none. */
export function parseAsn(text: string): number | undefined {
  const bare = text.replace(/^as/i, '');
  if (!/^\d{1,10}$|^\d{1,5}\.\d{1,5}$/.test(bare)) return undefined;
  // ip-num does not look at the range of a number or of the parts of asdot.
  if (bare.split('.').some((part, _, parts) => Number(part) > (parts.length > 1 ? 0xffff : 0xffffffff)))
    return undefined;
  const value = Number(Asn.fromString(bare.includes('.') ? bare : `AS${bare}`).getValue());
  return value > 0 ? value : undefined;
}
