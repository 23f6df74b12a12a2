/** What a policy decided about a route, in the words of the configuration file. Pure. */
import type { Decision, TellingView } from '../../bgp/speaker.ts';
import { type BgpConfig, type BgpNeighborConfig, rulesKey } from '../config/bgp-model.ts';
import type { BgpRouteStatus, BgpRule, BgpTelling, BgpVpnTelling } from '../control/messages.ts';

type Direction = 'import' | 'export';

/** As the file has it. */
export function policyText(policy: BgpNeighborConfig['importPolicy' | 'exportPolicy'] | undefined): string {
  if (policy === undefined) return '';
  if (typeof policy === 'string') return policy;
  return 'module' in policy ? `module ${policy.module}` : policy.written;
}

/** @param neighbor what was configured for the peer, or for its range */
export function ruleOf(
  d: Decision,
  direction: Direction,
  neighbor: BgpNeighborConfig | undefined,
  { rulePlaces }: BgpConfig,
): BgpRule {
  const written = direction === 'import' ? neighbor?.importPolicy : neighbor?.exportPolicy;
  const place = rulePlaces[rulesKey(neighbor?.name ?? '', direction)]?.[d.rule ?? -1];
  const policy = policyText(written);
  return {
    policy,
    list: place === undefined || place.policy === policy ? '' : place.policy,
    number: place?.number ?? (d.rule === undefined ? 0 : d.rule + 1),
    name: d.name ?? '',
    place: place?.line ?? '',
    error: d.error ?? '',
  };
}

/** `refused by import rule 2 "default route" of bogons (mlshim.yaml:7)`, or what else decided, as a sentence. */
export function decisionText(d: Decision, r: BgpRule, direction: Direction): string {
  const verb = d.isAccepted ? 'passed' : 'refused';
  if (d.by === 'function') {
    const called = `${direction} function ${r.policy.replace('module ', '')}`;
    return r.error === '' ? `${verb} by the ${called}` : `refused: the ${called} failed: ${r.error}`;
  }
  if (r.policy === 'own')
    return d.isAccepted ? 'passed: export is own' : 'refused: export is own, and this is none of our networks';
  if (d.by === 'word') return `${verb}: ${direction} is ${r.policy}`;
  const isOwnList = /^rules \(\d+\)$/.test(r.policy);
  if (d.by === 'end') return `refused: no ${isOwnList ? `${direction} rule` : `rule of ${r.policy}`} accepts it`;
  const list = r.list || (isOwnList || r.policy.includes(', ') ? '' : r.policy);
  const name = r.name === '' ? '' : ` "${r.name}"`;
  const place = r.place === '' ? '' : ` (${r.place})`;
  return `${verb} by ${direction} rule ${r.number}${name}${list === '' ? '' : ` of ${list}`}${place}`;
}

/** What a policy of a peer decided. */
export interface DecisionWords {
  readonly why: string;
  readonly rule: BgpRule;
}

/** What was decided, while the peer knows something else. */
export function withDue({ why, rule }: DecisionWords, isAccepted: boolean, told: boolean): DecisionWords {
  return { why: isAccepted === told ? why : `${why}; the peer is about to be told`, rule };
}

/**
 * Whether a peer is told a prefix, and why.
 * @param routes what it was told
 * @param vpn VPN routes to it
 * @param words what export policy decided
 */
export function telling(
  peer: string,
  { bar, policy }: TellingView,
  routes: readonly BgpRouteStatus[],
  vpn: readonly BgpVpnTelling[],
  words: (decision: Decision) => DecisionWords,
): BgpTelling {
  const told = routes.length > 0;
  if (policy === undefined) return { peer, told, routes, why: bar ?? 'default_originate', vpn };
  return { peer, told, routes, ...withDue(words(policy), policy.isAccepted, told), vpn };
}
