/** What policies say about each other and about peers: names that exist, lists that end, rules that can be reached. */
import type { ParsedPolicyItem, ParsedPolicyRef } from './bgp-policy.ts';
import { EXPORT_WORDS, IMPORT_WORDS, type ParsedBgp } from './bgp-schema.ts';
import type { Path, SourceTree } from './tree.ts';

/** Items that stand for rules without a match. */
const PLAIN_RULES = ['accept', 'reject'];

export function checkPolicies(tree: SourceTree, bgp: ParsedBgp): void {
  const known = Object.keys(bgp.policies);
  const words = new Set<string>([...IMPORT_WORDS, ...EXPORT_WORDS, ...PLAIN_RULES]);
  for (const [name, items] of Object.entries(bgp.policies)) {
    const at: Path = ['bgp', 'policies', name];
    if (words.has(name)) tree.reportKey('error', at, `"${name}" has a meaning of its own and cannot name a policy`);
    checkItems(tree, items, at, known);
    if (comesBack(name, items, bgp, [])) tree.reportKey('error', at, `the policy "${name}" contains itself`);
  }
  for (const [i, peer] of bgp.peers.entries()) {
    const at: Path = ['bgp', 'peers', i];
    checkRef(tree, bgp, peer.import, [...at, 'import'], IMPORT_WORDS, known);
    checkRef(tree, bgp, peer.export, [...at, 'export'], EXPORT_WORDS, known);
  }
}

function checkRef(
  tree: SourceTree,
  bgp: ParsedBgp,
  ref: ParsedPolicyRef | undefined,
  at: Path,
  words: readonly string[],
  known: readonly string[],
): void {
  if (ref === undefined) return;
  if (Array.isArray(ref)) checkItems(tree, ref, at, known);
  else if (typeof ref !== 'string') {
    if (bgp.filters === undefined)
      tree.report('error', [...at, 'module'], '"module" needs bgp.filters: the file with the function');
  } else if (!words.includes(ref) && !known.includes(ref)) {
    tree.report('error', at, `no policy "${ref}" (known: ${[...words, ...known].join(', ')})`);
  }
}

function checkItems(tree: SourceTree, items: readonly ParsedPolicyItem[], at: Path, known: readonly string[]): void {
  let last: number | undefined;
  for (const [i, item] of items.entries()) {
    if (last !== undefined) {
      const line = tree.lineOf([...at, last]);
      tree.report('warning', [...at, i], `this rule is never reached: the one at line ${line} is for every route`);
      return;
    }
    if (typeof item === 'string') {
      if (PLAIN_RULES.includes(item)) last = i;
      else if (!known.includes(item))
        tree.report('error', [...at, i], `no policy "${item}" (known: ${[...PLAIN_RULES, ...known].join(', ')})`);
      continue;
    }
    if (item.match === undefined && item.action !== 'continue') last = i;
    if (item.action === 'reject' && item.set !== undefined)
      tree.report('warning', [...at, i, 'set'], 'a rejected route is not changed');
  }
}

/** Whether following the names in `items` leads back to the list `name`. */
function comesBack(name: string, items: readonly ParsedPolicyItem[], bgp: ParsedBgp, seen: readonly string[]): boolean {
  return items.some((item) => {
    if (typeof item !== 'string' || seen.includes(item)) return false;
    return item === name || comesBack(name, bgp.policies[item] ?? [], bgp, [...seen, item]);
  });
}
