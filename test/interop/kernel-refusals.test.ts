/**
 * What the kernel backend cannot start with, each on this machine's own kernel: no VRFs, no cgroup v2, programs that the verifier
 * refuses, tables that are somebody's, rules that name nobody. Each is said in words that help, and nothing half-made stays.
 * Others are in kernel-backend.test.ts (a second router, an interface that is not there) and in test/lab/guest.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { cgroupMount } from '../../router/kernel/cgroups.ts';
import { needsOf, probeHost } from '../../router/kernel/host-probes.ts';
import { TABLES_PER_SLOT } from '../../router/kernel/instance.ts';
import { OBJECTS } from '../../router/kernel/loader.ts';
import { FIRST_TABLE } from '../../router/kernel/uplink.ts';
import { twoWays } from '../kit/host-network.ts';
import { changedSince } from '../kit/host-snapshot.ts';
import { labTests } from '../kit/it.ts';
import { kernelLeftovers } from '../kit/kernel-leftovers.ts';
import { type Finished, Lab } from '../kit/lab.ts';
import { ROOT_ACCOUNT, Router } from '../kit/router.ts';

/** Ranges of tables of routers. */
const RANGES = 32;

const probes = Lab.missing() === undefined ? await probeHost(needsOf(undefined)) : [];
const lacking = probes.find((p) => p.isNeeded && !p.isPresent && p.name !== 'vrf-device');
const missing = Lab.missing() ?? (lacking && `${lacking.name}: ${lacking.detail}`);
const hasVrf = probes.some((p) => p.name === 'vrf-device' && p.isPresent);
const { it } = labTests(missing);

const config = (isolation: string, rules = '[{ use: [fiber, lte] }]'): string => `backend: kernel
isolation: ${isolation}
uplinks:
  fiber: { kernel: { interface: eth1 } }
  lte: { kernel: { interface: eth2 } }
rules: ${rules}
`;

interface Start {
  readonly yaml: string;
  /** Shell, as root in mounts and a network of its own, before the router starts there. */
  readonly before?: string;
  readonly files?: (lab: Lab) => Promise<void>;
}

/** A start that fails: what it said, when nothing of it is left. */
async function refused(t: ExecutionContext, { yaml, before = ':', files }: Start): Promise<Finished> {
  const ways = await twoWays();
  const { lab, host } = ways;
  try {
    await files?.(lab);
    const router = new Router(lab, host, ROOT_ACCOUNT);
    router.write(yaml);
    const { words, options } = router.command(['up', '-c', router.config]);
    const script = `{ ${before}; } && exec "$@"`;
    const snapshot = await ways.snapshot();
    const told = await lab.run(host, 'unshare', ['--mount', 'sh', '-ec', script, 'sh', ...words], options);
    t.not(told.status, 0);
    t.deepEqual(changedSince(snapshot, await ways.snapshot()), []);
    t.deepEqual(kernelLeftovers(router), []);
    t.is((await router.cli(['down'])).status, 3, 'there is nothing to take back');
    return told;
  } finally {
    await lab.close();
  }
}

if (!hasVrf)
  it('a kernel without VRFs: the probe, the reason, and what needs none', async (t) => {
    const { status, stderr } = await refused(t, { yaml: config('vrf') });
    t.is(status, 1);
    t.regex(stderr, /backend: kernel: vrf-device: .*ENOTSUP.*"isolation: device", which needs none/);
  });

it('a host with cgroup v1 only is told to mount version 2', async (t) => {
  const before = `umount ${cgroupMount()}`;
  const { status, stderr } = await refused(t, { yaml: config('device'), before });
  t.is(status, 1);
  t.regex(stderr, /backend: kernel: cgroup-v2: no cgroup v2 hierarchy is mounted, version 1 alone is not enough/);
  t.regex(stderr, /mount -t cgroup2/);
});

/** Reads through a number as if it were an address. */
const BAD = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
const volatile __u32 can_set_retval = 0;
SEC("cgroup/connect4") int mls_connect4(struct bpf_sock_addr *c) { return *(int *)(long)(c->user_port + can_set_retval); }
char _license[] SEC("license") = "MIT";
`;

it('programs that the verifier refuses: its log is shown', async (t) => {
  const files = async (lab: Lab): Promise<void> => {
    const dir = join(lab.dir, 'bad');
    mkdirSync(dir);
    writeFileSync(join(dir, 'bad.c'), BAD);
    const include = `-I/usr/include/${(await lab.host('cc', ['-print-multiarch'])).trim()}`;
    await lab.host('clang', ['-O2', '-g', '-target', 'bpf', include, '-c', '-o', `${dir}/bad.o`, `${dir}/bad.c`]);
  };
  // The lab's folder is where the command is run.
  const before = ['policy.bpf.o', 'policy-old.bpf.o'].map((o) => `mount --bind ../bad/bad.o ${join(OBJECTS, o)}`);
  const { status, stderr } = await refused(t, { yaml: config('device'), files, before: before.join(' && ') });
  t.is(status, 1);
  t.regex(stderr, /backend: kernel: program-connect4: R\d+ invalid mem access '(scalar|inv)'/);
  t.regex(stderr, /BEGIN PROG LOAD LOG.*user_port.*processed \d+ insns/s);
});

it('tables that somebody has routes in are left to them, by name', async (t) => {
  const ranges = Array.from({ length: RANGES }, (_, i) => FIRST_TABLE + i * TABLES_PER_SLOT);
  const before = ranges.map((table) => `ip route add 10.77.0.0/16 dev eth1 table ${table}`).join('; ');
  const { lab, host, snapshot } = await twoWays();
  try {
    await lab.ok(host, 'sh', ['-ec', before]);
    const router = new Router(lab, host, ROOT_ACCOUNT);
    router.write(config('device'));
    const at = await snapshot();
    const { status, stderr } = await router.cli(['up', '-c', router.config]);
    t.is(status, 78);
    t.regex(stderr, /table \d+ of uplink fiber is in use by somebody's route to 10\.77\.0\.0\/16/);
    t.regex(stderr, /ip route show table \d+/);
    t.deepEqual(changedSince(at, await snapshot()), []);
    t.deepEqual(kernelLeftovers(router), []);
  } finally {
    await lab.close();
  }
});

it('a rule that names an uplink that is not there is shown with its line, and the nearest name', async (t) => {
  const { status, stderr } = await refused(t, { yaml: config('device', '\n  - { match: { port: 25 }, use: fibre }') });
  t.is(status, 78);
  t.regex(stderr, /mlshim\.yaml:7:\d+: error: no uplink or group "fibre" \(did you mean "fiber"\?\)/);
  t.regex(stderr, /\^+/);
});
