/** Carries out the changes of a rule on a copy of the attributes. */

import { prepend } from '../wire/attribute/as-path.ts';
import { DEFAULT_LOCAL_PREF } from '../wire/attribute/local-pref.ts';
import { type Attributes, NO_NUMBERS } from '../wire/attribute/model.ts';
import { hasCommunity, hasExtended, hasLarge } from './communities.ts';
import type { Changes } from './rule.ts';

const MAX_WORD = 0xffffffff;

/** The attributes alone, without what an AttrSet adds. */
export function copyOf(a: Attributes): Attributes {
  return {
    origin: a.origin,
    asPath: a.asPath,
    med: a.med,
    localPref: a.localPref,
    atomicAggregate: a.atomicAggregate,
    aggregator: a.aggregator,
    communities: a.communities,
    extendedCommunities: a.extendedCommunities,
    largeCommunities: a.largeCommunities,
    originatorId: a.originatorId,
    clusterList: a.clusterList,
    otc: a.otc,
    unknown: a.unknown,
  };
}

/**
 * The attributes after `set`; the same object when none of them is touched.
 * @param ownAs what `prepend` puts in front when the rule names no AS
 */
export function changed(a: Attributes, set: Changes | undefined, ownAs: number): Attributes {
  if (set === undefined) return a;
  const next = touchesAttributes(set) ? relabelledCopy(a, set, ownAs) : a;
  return set.edit === undefined ? next : set.edit(next);
}

function relabelledCopy(a: Attributes, set: Changes, ownAs: number): Attributes {
  const { prepend: more } = set;
  return {
    ...copyOf(a),
    origin: set.origin ?? a.origin,
    localPref: shifted(set.localPref ?? a.localPref, set.addLocalPref, DEFAULT_LOCAL_PREF),
    med: shifted(set.med === 'none' ? undefined : (set.med ?? a.med), set.addMed, 0),
    asPath: more === undefined ? a.asPath : prepend(a.asPath, more.asn ?? ownAs, more.times),
    communities: relabelled(
      set.setCommunities?.map((c) => [c]),
      a.communities,
      1,
      set.removeCommunities && (([c]) => set.removeCommunities!.some((m) => hasCommunity([c!], m))),
      set.addCommunities?.map((c) => [c]),
    ),
    extendedCommunities: relabelled(
      set.setExtendedCommunities,
      a.extendedCommunities,
      2,
      set.removeExtendedCommunities && ((e) => set.removeExtendedCommunities!.some((m) => hasExtended(e, m))),
      set.addExtendedCommunities,
    ),
    largeCommunities: relabelled(
      set.setLargeCommunities,
      a.largeCommunities,
      3,
      set.removeLargeCommunities && ((l) => set.removeLargeCommunities!.some((m) => hasLarge(l, m))),
      set.addLargeCommunities,
    ),
  };
}

function touchesAttributes(set: Changes): boolean {
  for (const key of Object.keys(set)) if (key !== 'nextHop' && key !== 'weight' && key !== 'edit') return true;
  return false;
}

function shifted(value: number | undefined, by: number | undefined, missing: number): number | undefined {
  return by === undefined ? value : Math.min(MAX_WORD, Math.max(0, (value ?? missing) + by));
}

/** Labels of `width` words each: all replaced, then some removed, then those added that are not there yet. */
function relabelled(
  replace: readonly (readonly number[])[] | undefined,
  words: readonly number[],
  width: number,
  isRemoved: ((label: readonly number[]) => boolean) | undefined,
  add: readonly (readonly number[])[] | undefined,
): readonly number[] {
  if (replace === undefined && isRemoved === undefined && add === undefined) return words;
  const out: number[] = [];
  const put = (label: readonly number[]): void => {
    for (let at = 0; at < out.length; at += width) if (label.every((w, i) => out[at + i] === w)) return;
    out.push(...label);
  };
  if (replace !== undefined) for (const label of replace) put(label);
  else {
    for (let at = 0; at < words.length; at += width) {
      const label = words.slice(at, at + width);
      if (isRemoved?.(label) !== true) out.push(...label);
    }
  }
  for (const label of add ?? []) put(label);
  return out.length === 0 ? NO_NUMBERS : out;
}
