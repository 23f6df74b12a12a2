/**
 * What a daemon could leave behind in the guest: its first network namespace as hostSnapshot tells it, and what the kernel
 * keeps besides, as lines of text, so that two moments can be compared.
 */
import { readdirSync } from 'node:fs';
import { changedSince, hostSnapshot } from '../../kit/host-snapshot.ts';
import type { Lab } from '../../kit/lab.ts';
import { HOST } from './case.ts';

const BPF_OBJECTS = ['prog', 'map', 'link'] as const;
/** A time of loading stays the same; what a program has used so far does not. */
const COUNTED = / (run_time_ns|run_cnt) \d+/g;
/** systemd loads its programs anew when it is executed anew. */
const OF_SYSTEMD = ' name sd_';

export async function snapshot(lab: Lab): Promise<string> {
  const parts = [await hostSnapshot(lab, HOST)];
  for (const kind of BPF_OBJECTS) {
    // Each object has several lines, the first not indented.
    const text = (await lab.ok(HOST, 'bpftool', [kind])).replace(/\n[\t ]+/g, ' ').replace(COUNTED, '');
    parts.push(`# BPF ${kind}`, ...text.split('\n').filter((line) => line !== '' && !line.includes(OF_SYSTEMD)));
  }
  parts.push('# cgroups', ...below('/sys/fs/cgroup', true));
  parts.push('# pins', ...below('/sys/fs/bpf', false));
  parts.push('# namespaces', ...readdirSync('/run/netns'));
  return parts.join('\n');
}

function below(root: string, foldersOnly: boolean): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => !foldersOnly || entry.isDirectory())
    .map((entry) => `${entry.parentPath}/${entry.name}`);
}

/** What is there now and was not before (+), and the other way round (-), once the kernel has settled. */
export async function leftovers(lab: Lab, before: string, settleMs = 5_000): Promise<readonly string[]> {
  let left: readonly string[] = [];
  // The kernel takes links of a removed namespace away in its own time.
  await lab
    .eventually('as before', async () => (left = changedSince(before, await snapshot(lab))).length === 0, settleMs)
    .catch(() => undefined);
  return left;
}
