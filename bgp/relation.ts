/**
 * How a peer is related to us, and which AS we are to it: other AS, other member AS of our confederation, same AS.
 * Read first: RFC 5065 §2 and §4, RFC 7705 §3.
 */

import type { AsMatch } from './fsm/negotiate.ts';
import { AS_TRANS } from './wire/attribute/as-path.ts';

/** `confederation` = in another member AS of our confederation. */
export type Relation = 'external' | 'confederation' | 'internal';

/** Our confederation (RFC 5065 §2): the AS number outsiders see, and the member ASes other than ours. */
export interface Confederation {
  readonly id: number;
  readonly members: readonly number[];
}

/** An AS we are in towards one peer only, e.g. the old one after a change of numbers (RFC 7705 §3). */
export interface LocalAs {
  readonly asn: number;
  /** Do not put it into the paths of routes received from the peer. */
  readonly noPrepend?: boolean;
  /** Announce it alone, without our own AS behind it. */
  readonly replaceAs?: boolean;
}

/** Our ASes towards a peer. */
export interface OwnAses {
  /** The one we say to be in, in OPEN. */
  readonly session: number;
  /** Those that stand in front of paths told to an external peer, outermost first. */
  readonly prepended: readonly number[];
}

/** The number that stands for those of four octets (RFC 6793 §9): nobody is in it. */
export function isPlaceholder(asn: AsMatch): boolean {
  return asn === AS_TRANS;
}

/** ASes whose speakers are not external peers of ours, towards a peer with this local AS. */
export function ownAsNumbers(
  ownAs: number,
  confederation: Confederation | undefined,
  localAs: LocalAs | undefined,
): readonly number[] {
  const { id, members = [] } = confederation ?? {};
  return [ownAs, id, localAs?.asn, ...members].filter((asn) => asn !== undefined);
}

/** Whether an external peer would be in the AS that we tell outsiders or it alone: the confederation's, or its local AS. */
export function isOurAs(
  asn: number,
  ownAs: number,
  confederation: Confederation | undefined,
  localAs: LocalAs | undefined,
): boolean {
  if (relationOf(asn, ownAs, confederation) !== 'external') return false;
  return asn === confederation?.id || asn === localAs?.asn;
}

/**
 * A list of ASes is one of external peers: how a peer is treated must not depend on which of them it turns out to be in.
 * Nor can one external AS be the one we say to be in there: the session would be internal, and the relation not.
 * @throws RangeError when it is, or the list contains an AS of ours or of our confederation
 */
export function checkAses(
  asn: AsMatch,
  ownAs: number,
  confederation: Confederation | undefined,
  localAs: LocalAs | undefined,
): void {
  if (typeof asn === 'number' && isOurAs(asn, ownAs, confederation, localAs))
    throw new RangeError(`AS ${asn} is what we say to be in: it cannot be the peer's`);
  if (typeof asn !== 'object') return;
  const own = ownAsNumbers(ownAs, confederation, localAs).find((a) => asn.includes(a));
  if (own !== undefined) throw new RangeError(`AS ${own} is not external: it cannot be one of several`);
}

export function relationOf(asn: AsMatch, ownAs: number, confederation: Confederation | undefined): Relation {
  if (asn === 'internal' || asn === ownAs) return 'internal';
  return typeof asn === 'number' && confederation?.members.includes(asn) ? 'confederation' : 'external';
}

export function ownAsesOf(
  relation: Relation,
  ownAs: number,
  confederation: Confederation | undefined,
  localAs: LocalAs | undefined,
): OwnAses {
  if (relation !== 'external') return { session: ownAs, prepended: [] };
  // RFC 5065 §4: outside, the confederation is one AS.
  const shown = confederation?.id ?? ownAs;
  if (localAs === undefined) return { session: shown, prepended: [shown] };
  // RFC 7705 §3.3: "Replace Old AS" leaves only the local AS in the path.
  return { session: localAs.asn, prepended: localAs.replaceAs ? [localAs.asn] : [localAs.asn, shown] };
}
