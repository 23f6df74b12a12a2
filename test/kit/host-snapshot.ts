/**
 * Everything of a network namespace's set-up that a kernel backend could touch, as text: taken before and after, equal
 * texts mean that nothing was left behind and nothing lost. Made by iproute2, not by our own decoders.
 */
import type { Lab } from './lab.ts';

/** What counts on and on, or tells what is going on rather than what is set up. */
const VOLATILE = new Set([
  ...['stats', 'stats64', 'cacheinfo', 'used', 'valid_life_time', 'preferred_life_time', 'expires', 'operstate'],
  ...['promiscuity', 'min_mtu', 'max_mtu', 'num_tx_queues', 'num_rx_queues', 'gso_max_size', 'gso_max_segs'],
]);
/** Of bridges and their ports. */
const TIMER = '_timer';
/** Flags of links, addresses and routes that come and go by themselves. */
const PASSING = new Set(['LOWER_UP', 'NO-CARRIER', 'M-DOWN', 'tentative', 'linkdown', 'dead']);

const TABLES: Readonly<Record<string, readonly string[]>> = {
  links: ['-d', 'link', 'show'],
  addresses: ['addr', 'show'],
  'rules 4': ['-4', 'rule', 'show'],
  'rules 6': ['-6', 'rule', 'show'],
  'routes 4': ['-4', 'route', 'show', 'table', 'all'],
  'routes 6': ['-6', 'route', 'show', 'table', 'all'],
  neighbours: ['neigh', 'show', 'nud', 'permanent'],
  'next hops': ['nexthop', 'show'],
};

/** Between the answers. */
const MARK = '####';
const SYSCTLS =
  'grep -s "" /proc/sys/net/ipv4/*l3mdev* /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv[46]/conf/*/* | grep -v stable_secret';

/** Once all addresses are found to be unique. @throws Error when a program fails */
export async function hostSnapshot(lab: Lab, ns: string): Promise<string> {
  await lab.eventually('no address is tentative', async () => {
    return (await lab.ok(ns, 'ip', ['-6', 'addr', 'show', 'tentative'])).trim() === '';
  });
  // One process asks for everything: starting a dozen takes seconds in a guest that is emulated.
  const asked = Object.values(TABLES).map((args) => `ip -j ${args.join(' ')}`);
  const told = (await lab.ok(ns, 'bash', ['-c', [...asked, SYSCTLS].join(`; echo '${MARK}'; `)])).split(`${MARK}\n`);
  const parts = Object.keys(TABLES).map((title, i) => {
    const text = told[i]!;
    const rows = text.trim() === '' ? [] : (JSON.parse(text) as unknown[]);
    const lines = rows.map((row) => JSON.stringify(steady(row))).filter((line) => line !== '{}');
    return [`# ${title}`, ...lines.sort()].join('\n');
  });
  return [...parts, `# sysctls\n${told.at(-1)}`].join('\n');
}

/** What is set up, with keys and lists of words in order. */
function steady(value: unknown): unknown {
  if (Array.isArray(value)) {
    const kept = value.filter((x) => typeof x !== 'string' || !PASSING.has(x)).map(steady);
    return kept.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .filter(([key]) => !VOLATILE.has(key) && !PASSING.has(key) && !key.endsWith(TIMER))
    .map(([key, v]): [string, unknown] => [key, steady(v)]);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a later snapshot lacks (-) and has more (+), line by line; empty when nothing changed. */
export function changedSince(before: string, after: string): string[] {
  const [was, is] = [before.split('\n'), after.split('\n')];
  const [wasSet, isSet] = [new Set(was), new Set(is)];
  return [
    ...was.filter((l) => !isSet.has(l)).map((l) => `- ${l}`),
    ...is.filter((l) => !wasSet.has(l)).map((l) => `+ ${l}`),
  ];
}
