/**
 * What a daemon could leave behind in the guest's first network namespace and in the kernel, as sorted lines of text, so
 * that two moments can be compared.
 */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { promisify } from 'node:util';

const exec = promisify(execFile);

export type Snapshot = ReadonlyMap<string, ReadonlySet<string>>;

/** What each question answers; counters, lifetimes and numbers that only name an order are cut out of it. */
const QUESTIONS: Readonly<Record<string, readonly string[]>> = {
  link: ['ip', '-d', '-o', 'link'],
  address: ['ip', '-o', 'address'],
  'IPv4 rule': ['ip', '-4', 'rule'],
  'IPv6 rule': ['ip', '-6', 'rule'],
  'IPv4 route': ['ip', '-4', 'route', 'show', 'table', 'all'],
  'IPv6 route': ['ip', '-6', 'route', 'show', 'table', 'all'],
  program: ['bpftool', 'prog'],
  map: ['bpftool', 'map'],
  'BPF link': ['bpftool', 'link'],
  sysctl: ['sysctl', '-a', '-r', '^net\\.'],
};

const VOLATILE: readonly RegExp[] = [
  /(valid|preferred)_lft \S+/g,
  /\b(expires|pref|users) \S+/g,
  /\bqlen \d+/g,
  /state (UP|DOWN|UNKNOWN|LOWERLAYERDOWN)/g,
];

/** The kernel counts these, or draws them by lot. */
const UNSETTLED = /^net\.(netfilter\.nf_conntrack_count|ipv4\.tcp_fastopen_key|ipv6\.conf\.[^ ]*\.stable_secret)/;

export async function snapshot(): Promise<Snapshot> {
  const found = new Map<string, ReadonlySet<string>>();
  for (const [kind, [command, ...args]] of Object.entries(QUESTIONS)) {
    const { stdout } = await exec(command!, args, { maxBuffer: 1 << 26 });
    found.set(kind, new Set(lines(kind, stdout)));
  }
  found.set('cgroup', new Set(folders('/sys/fs/cgroup')));
  found.set('pin', new Set(readdirSync('/sys/fs/bpf', { recursive: true, encoding: 'utf8' })));
  found.set('namespace', new Set(readdirSync('/run/netns')));
  return found;
}

function lines(kind: string, text: string): string[] {
  // bpftool tells each object on several lines, the first not indented.
  const joined = kind === 'program' || kind === 'map' || kind === 'BPF link' ? text.replace(/\n[\t ]+/g, ' ') : text;
  return joined
    .split('\n')
    .map((line) => VOLATILE.reduce((rest, pattern) => rest.replace(pattern, ''), line).trim())
    .filter((line) => line !== '' && !UNSETTLED.test(line));
}

function folders(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(root.length));
}

/** What is there now and was not before, and the other way round, one line each. */
export function differences(before: Snapshot, after: Snapshot): string[] {
  const told: string[] = [];
  for (const [kind, now] of after) {
    const then = before.get(kind)!;
    for (const line of now) if (!then.has(line)) told.push(`new ${kind}: ${line}`);
    for (const line of then) if (!now.has(line)) told.push(`lost ${kind}: ${line}`);
  }
  return told;
}
