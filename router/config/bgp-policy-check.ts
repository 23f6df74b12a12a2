/** What policies say about each other and about peers: names that exist, lists that end, rules that can be reached. */
import { isDeepStrictEqual } from 'node:util';
import type { Match } from '../../bgp/policy/rule.ts';
import { memberAddress } from '../../bgp/ranges.ts';
import type { ParsedPolicyItem, ParsedPolicyRef } from './bgp-policy.ts';
import { EXPORT_WORDS, IMPORT_WORDS, type ParsedBgp, peerNameOf } from './bgp-schema.ts';
import { noSuch } from './names.ts';
import type { Path, SourceTree } from './tree.ts';

/** Items that stand for rules without a match. */
const PLAIN_RULES = ['accept', 'reject'];
/** Other words in lists: the rules of the policy stand there. */
const POLICY_WORDS = ['dn42'];

export function checkPolicies(tree: SourceTree, bgp: ParsedBgp): void {
  const words = new Set<string>([...IMPORT_WORDS, ...EXPORT_WORDS, ...PLAIN_RULES]);
  for (const [name, items] of Object.entries(bgp.policies)) {
    const at: Path = ['bgp', 'policies', name];
    if (words.has(name)) tree.reportKey('error', at, `"${name}" has a meaning of its own and cannot name a policy`);
    checkItems(tree, bgp, items, at);
    if (comesBack(name, items, bgp, [])) tree.reportKey('error', at, `the policy "${name}" contains itself`);
  }
  for (const [i, peer] of bgp.peers.entries()) {
    const at: Path = ['bgp', 'peers', i];
    checkRef(tree, bgp, peer.import, [...at, 'import'], IMPORT_WORDS);
    checkRef(tree, bgp, peer.export, [...at, 'export'], EXPORT_WORDS);
    if (setsWeight(itemsOf(peer.export, bgp), bgp, []))
      tree.report('warning', [...at, 'export'], 'a weight has no effect here: no peer is told it');
  }
}

function checkRef(
  tree: SourceTree,
  bgp: ParsedBgp,
  ref: ParsedPolicyRef | undefined,
  at: Path,
  words: readonly string[],
): void {
  const known = [...words, ...Object.keys(bgp.policies)];
  if (Array.isArray(ref)) checkItems(tree, bgp, ref, at);
  else if (typeof ref === 'object' && bgp.filters === undefined)
    tree.report('error', [...at, 'module'], '"module" needs bgp.filters: the file with the function');
  else if (typeof ref === 'string' && !known.includes(ref)) tree.report('error', at, noSuch('policy', ref, known));
  const items = itemsOf(ref, bgp);
  if (items !== undefined && !accepts(items, bgp, []) && !items.some((item) => decidesAll(item, bgp, [])))
    tree.report('warning', at, 'no rule accepts a route, so none passes: let the list end with "accept"?');
}

function itemsOf(ref: ParsedPolicyRef | undefined, bgp: ParsedBgp): readonly ParsedPolicyItem[] | undefined {
  return Array.isArray(ref) ? ref : typeof ref === 'string' ? bgp.policies[ref] : undefined;
}

/** Whether a rule says what import alone can. */
function setsWeight(items: readonly ParsedPolicyItem[] = [], bgp: ParsedBgp, inside: readonly string[]): boolean {
  return items.some((item) => {
    if (typeof item !== 'string') return item.set?.weight !== undefined;
    return !inside.includes(item) && setsWeight(bgp.policies[item], bgp, [...inside, item]);
  });
}

function checkItems(tree: SourceTree, bgp: ParsedBgp, items: readonly ParsedPolicyItem[], at: Path): void {
  const known = [...PLAIN_RULES, ...POLICY_WORDS, ...Object.keys(bgp.policies)];
  for (const [i, item] of items.entries()) {
    if (typeof item === 'string') {
      if (!known.includes(item)) tree.report('error', [...at, i], noSuch('policy', item, known));
      continue;
    }
    if (item.action === 'reject' && item.set !== undefined)
      tree.report('warning', [...at, i, 'set'], 'a rejected route is not changed');
    checkPeerNames(tree, bgp, item.match, [...at, i, 'match']);
  }
  checkReached(tree, bgp, items, at);
}

/** Rules behind one that decides about every route, or about the same ones. */
function checkReached(tree: SourceTree, bgp: ParsedBgp, items: readonly ParsedPolicyItem[], at: Path): void {
  for (const [i, item] of items.entries()) {
    const before = items.slice(0, i);
    const all = before.findIndex((earlier) => decidesAll(earlier, bgp, []));
    const by = all >= 0 ? all : before.findIndex((earlier) => hasSameMatch(earlier, item));
    if (by < 0) continue;
    const why = all >= 0 ? 'is for every route' : 'decides about the same routes';
    const where = tree.whereIs([...at, by], [...at, i]);
    tree.report('warning', [...at, i], `this rule is never reached: the one at ${where} ${why}`);
    if (all >= 0) return;
  }
}

function hasSameMatch(earlier: ParsedPolicyItem, later: ParsedPolicyItem): boolean {
  if (typeof earlier === 'string' || typeof later === 'string') return false;
  return earlier.action !== 'continue' && isDeepStrictEqual(earlier.match, later.match);
}

/** Whether no route gets past `item`. */
function decidesAll(item: ParsedPolicyItem, bgp: ParsedBgp, inside: readonly string[]): boolean {
  if (typeof item !== 'string') return item.action !== 'continue' && Object.keys(item.match ?? {}).length === 0;
  if (PLAIN_RULES.includes(item)) return true;
  return !inside.includes(item) && (bgp.policies[item] ?? []).some((i) => decidesAll(i, bgp, [...inside, item]));
}

/** Whether a rule accepts routes; a name that is not there has its own complaint. */
function accepts(items: readonly ParsedPolicyItem[], bgp: ParsedBgp, inside: readonly string[]): boolean {
  return items.some((item) => {
    if (typeof item !== 'string') return item.action === 'accept';
    const named = bgp.policies[item];
    if (item === 'accept' || named === undefined) return item !== 'reject';
    return !inside.includes(item) && accepts(named, bgp, [...inside, item]);
  });
}

/** A match may name peers, ranges of peers, and peers of ranges. */
function checkPeerNames(tree: SourceTree, bgp: ParsedBgp, match: Match | undefined, at: Path): void {
  if (match === undefined) return;
  const known = bgp.peers.map((p) => peerNameOf(p, bgp));
  const ranges = bgp.peers.filter((p) => p.range !== undefined);
  const isKnown = (name: string): boolean =>
    known.includes(name) ||
    ranges.some(({ range, name: of }) => {
      const address = memberAddress(name, of ?? '');
      return address !== undefined && range!.contains(address);
    });
  for (const [i, name] of (match.peers ?? []).entries())
    if (!isKnown(name)) tree.report('error', [...at, 'peer', i], noSuch('peer', name, known));
  checkPeerNames(tree, bgp, match.not, [...at, 'not']);
  for (const [i, m] of (match.all ?? []).entries()) checkPeerNames(tree, bgp, m, [...at, 'all', i]);
  for (const [i, m] of (match.any ?? []).entries()) checkPeerNames(tree, bgp, m, [...at, 'any', i]);
}

/** Whether following the names in `items` leads back to the list `name`. */
function comesBack(name: string, items: readonly ParsedPolicyItem[], bgp: ParsedBgp, seen: readonly string[]): boolean {
  return items.some((item) => {
    if (typeof item !== 'string' || seen.includes(item)) return false;
    return item === name || comesBack(name, bgp.policies[item] ?? [], bgp, [...seen, item]);
  });
}
