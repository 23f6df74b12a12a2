/**
 * Containers of Debian's Docker beside the kernel backend: those on the host's network are governed by rules about their
 * cgroups, those with a network of their own are left alone. The image holds no program: the guest's own are mounted into it.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostAddresses, type LinePlan } from '../../kit/access-lines.ts';
import { SERVER } from '../../kit/isps.ts';
import { HOST, type Suite, type Trial } from './case.ts';
import { HostRouter, RULES, shown, WIFI, WIRED } from './host-router.ts';
import { echoServer, opener, readOpened, tally } from './opens.ts';
import { leftovers, snapshot } from './snapshot.ts';

const IMAGE = 'guest';
/** No AppArmor: its parser is not there, and profiles have nothing to do with it. */
const COMMON = [
  '--security-opt=apparmor=unconfined',
  ...['/usr', '/mlshim'].flatMap((path) => ['-v', `${path}:${path}:ro`]),
];
/** Containers on the bridge talk to the host alone: nothing is filtered, translated or forwarded. */
const SETTINGS = {
  bip: '172.17.0.1/16',
  'exec-opts': ['native.cgroupdriver=systemd'],
  'ip-forward': false,
  'ip-masq': false,
  iptables: false,
  'log-driver': 'none',
  'storage-driver': 'vfs',
  'userland-proxy': false,
};
const BRIDGE = { device: 'docker0', address: '172.17.0.1' };
const SOCKETS = 2;

/** Where Docker has systemd put containers, and a slice that others are put into. */
const CONTAINER_RULES = RULES.replace(
  'rules:\n',
  `rules:
  - { name: jobs, match: { cgroup: /jobs.slice }, use: wired }
  - { name: containers, match: { cgroup: '/system.slice/docker-*.scope' }, use: wifi }
`,
);

let host: HostRouter;
let isUp = false;
let engineSeconds = 0;
/** With the first containers, before the daemon has started. */
let before: string;
/** What sockets of containers with a network of their own came to then. */
const outside = new Map<string, Record<string, number>>();

const docker = (...words: string[]): Promise<string> => host.trial.lab.ok(HOST, 'docker', words);

/** Start a container that stays. */
const container = (name: string, ...words: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, ...COMMON, ...words, IMAGE, 'sleep', 'infinity');

async function cgroupOf(name: string): Promise<string> {
  const pid = (await docker('inspect', '-f', '{{.State.Pid}}', name)).trim();
  return readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim();
}

/** Open sockets in a container, TCP and UDP to each address; returns how many the server saw from which address. */
async function opened(name: string, ...to: string[]): Promise<Record<string, number>> {
  const command = opener(['tcp', 'udp'], { to, count: to.length * 2 * SOCKETS });
  return tally(readOpened(await docker('exec', name, ...command)));
}

async function leavesBy(name: string, line: LinePlan, log: Trial['log']): Promise<void> {
  const found = await opened(name, SERVER.v4, SERVER.v6);
  log(`${name}: ${shown(found)}`);
  const { v4, v6 } = hostAddresses(line);
  assert.deepEqual(found, { [v4]: 2 * SOCKETS, [v6]: 2 * SOCKETS });
}

/** By name; and where its sockets are opened to. */
const OWN_NETWORK: Readonly<Record<string, readonly string[]>> = {
  bridged: [BRIDGE.address],
  alone: [SERVER.v4, SERVER.v6],
};

async function setup(trial: Trial): Promise<void> {
  const { lab } = trial;
  host = new HostRouter(trial);
  await host.build();
  host.configure({ rest: CONTAINER_RULES });
  mkdirSync('/etc/docker', { recursive: true });
  writeFileSync('/etc/docker/daemon.json', JSON.stringify(SETTINGS));
  const at = performance.now();
  await lab.ok(HOST, 'systemctl', ['start', 'docker']);
  const root = join(lab.dir, 'image');
  for (const dir of ['usr', 'mlshim', 'tmp']) mkdirSync(join(root, dir), { recursive: true });
  for (const dir of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${dir}`, join(root, dir));
  await lab.ok(HOST, 'sh', ['-c', `tar -c -C ${root} . | docker import - ${IMAGE}`]);
  engineSeconds = (performance.now() - at) / 1000;
  await container('early', '--network=host');
  await container('bridged');
  await container('alone', '--network=none');
  const [command, ...args] = echoServer([BRIDGE.address]);
  await lab.start(HOST, command!, args).until(/ready/);
  for (const [name, to] of Object.entries(OWN_NETWORK)) outside.set(name, await opened(name, ...to));
  before = await snapshot(lab);
  await host.up();
  isUp = true;
}

async function down(): Promise<void> {
  if (isUp) await host.down();
  isUp = false;
}

async function teardown({ lab }: Trial): Promise<void> {
  await down();
  const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
  if (left.length > 0) await docker('rm', '-f', ...left);
  await lab.ok(HOST, 'systemctl', ['stop', 'docker', 'docker.socket', 'containerd']);
  await lab.ok(HOST, 'ip', ['link', 'del', BRIDGE.device]);
  rmSync('/etc/docker', { recursive: true });
}

async function early({ log }: Trial): Promise<void> {
  log(`engine and image after ${engineSeconds.toFixed(1)} s`);
  await leavesBy('early', WIFI, log);
}

async function late({ log }: Trial): Promise<void> {
  await container('late', '--network=host');
  const cgroup = await cgroupOf('late');
  log(cgroup);
  assert.match(cgroup, /:\/system\.slice\/docker-[0-9a-f]{64}\.scope$/);
  await leavesBy('late', WIFI, log);
}

async function inSlice({ log }: Trial): Promise<void> {
  await container('job', '--network=host', '--cgroup-parent=jobs.slice');
  const cgroup = await cgroupOf('job');
  log(cgroup);
  assert.match(cgroup, /:\/jobs\.slice\/docker-[0-9a-f]{64}\.scope$/);
  await leavesBy('job', WIRED, log);
}

async function ownNetwork({ log }: Trial): Promise<void> {
  const { counters: was } = await host.status();
  for (const [name, to] of Object.entries(OWN_NETWORK)) {
    const found = await opened(name, ...to);
    log(`${name}: ${shown(found)}`);
    assert.deepEqual(found, outside.get(name));
  }
  const { counters: is } = await host.status();
  assert.ok(is['policy_foreign_netns']! > was['policy_foreign_netns']!, 'the programs have seen them');
  assert.equal(is['policy_rule_containers'], was['policy_rule_containers'], 'and asked no rule');
}

async function goesOn({ lab, log }: Trial): Promise<void> {
  await docker('rm', '-f', 'late', 'job');
  await lab.ok(HOST, 'systemctl', ['stop', 'jobs.slice']);
  await down();
  assert.deepEqual(await leftovers(lab, before), []);
  // The host's own routes prefer this line.
  await leavesBy('early', WIRED, log);
}

export const dockerSuite: Suite = {
  name: 'docker',
  boot: 'systemd',
  setup,
  teardown,
  cases: [
    {
      name: 'docker-early',
      title: 'a container on the host network that ran before the daemon leaves by the line of its rule',
      run: early,
    },
    {
      name: 'docker-late',
      title: 'so does a container that is started while the daemon runs',
      run: late,
    },
    {
      name: 'docker-slice',
      title: 'a rule about a slice holds for containers with that cgroup parent',
      run: inSlice,
    },
    {
      name: 'docker-own-network',
      title: 'containers with a network of their own, bridged or none, are left alone',
      run: ownNetwork,
    },
    {
      name: 'docker-down',
      title: 'after down nothing is left, and a container that still runs has its network',
      run: goesOn,
    },
  ],
};
