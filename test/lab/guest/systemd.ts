/** A host as distributions set it up: systemd as process 1, names by systemd-resolved's stub, applications in slices. */
import assert from 'node:assert/strict';
import { rmSync, symlinkSync } from 'node:fs';
import { gateway, hostAddresses } from '../../kit/access-lines.ts';
import { SERVER } from '../../kit/isps.ts';
import { HOST, type Suite, type Trial } from './case.ts';
import { asksByLine, HostRouter, RULES, WIFI, WIRED } from './host-router.ts';
import { opener, readOpened, tally } from './opens.ts';

const STUB = '127.0.0.53';

/** Of units, and of an engine for containers: made after the daemon has started, and made anew at will. */
const CGROUP_RULES = RULES.replace(
  'rules:\n',
  `rules:
  - { name: slice, match: { cgroup: /apps.slice }, use: wifi }
  - { name: containers, match: { cgroup: /docker/* }, use: wifi }
`,
);
const SOCKETS = 4;

let host: HostRouter;

async function setup(trial: Trial): Promise<void> {
  const { lab } = trial;
  host = new HostRouter(trial);
  await host.build();
  await lab.ok(HOST, 'systemctl', ['start', 'systemd-resolved']);
  rmSync('/etc/resolv.conf', { force: true });
  symlinkSync('/run/systemd/resolve/stub-resolv.conf', '/etc/resolv.conf');
  // As DHCP would tell it; names are asked over the first line alone, so that an answer by the other one is news.
  await lab.ok(HOST, 'resolvectl', ['dns', WIRED.device, gateway(WIRED).v4]);
  await lab.ok(HOST, 'resolvectl', ['domain', WIRED.device, '~.']);
  host.configure({ rest: CGROUP_RULES });
}

async function teardown({ lab }: Trial): Promise<void> {
  await host.down();
  await lab.ok(HOST, 'systemctl', ['stop', 'systemd-resolved']);
  rmSync('/etc/resolv.conf');
}

async function stubAnswers({ lab, log }: Trial): Promise<void> {
  log((await lab.ok(HOST, 'systemctl', ['--version'])).split('\n')[0]!);
  const found = await lab.ok(HOST, 'getent', ['ahostsv4', 'which.example']);
  assert.match(found, new RegExp(`^${WIRED.which} `));
  const asked = await lab.ok(HOST, 'dig', ['+short', `@${STUB}`, 'which.example']);
  assert.equal(asked.trim(), WIRED.which);
}

/** The inode of a cgroup's folder is its id. */
async function cgroupOf(lab: Trial['lab'], unit: string): Promise<string> {
  const path = (await lab.ok(HOST, 'systemctl', ['show', '-P', 'ControlGroup', unit])).trim();
  return (await lab.ok(HOST, 'stat', ['-c', '%i', `/sys/fs/cgroup${path}`])).trim();
}

async function restartedCgroup({ lab }: Trial): Promise<void> {
  const run = ['--quiet', '--slice=apps.slice', '--unit=app', 'sleep', '1000'];
  await lab.ok(HOST, 'systemd-run', run);
  const before = await cgroupOf(lab, 'app');
  await lab.ok(HOST, 'systemctl', ['restart', 'app']);
  assert.notEqual(await cgroupOf(lab, 'app'), before);
  await lab.ok(HOST, 'systemctl', ['stop', 'app', 'apps.slice']);
}

async function namesByStub({ log }: Trial): Promise<void> {
  await host.up();
  await asksByLine(host, log);
}

async function wirelessOnly(lab: Trial['lab'], ...command: string[]): Promise<void> {
  const stdout = await lab.ok(HOST, command[0]!, [...command.slice(1), ...opener('tcp', { count: SOCKETS })]);
  assert.deepEqual(tally(readOpened(stdout)), { [hostAddresses(WIFI).v4]: SOCKETS });
}

async function slices({ lab }: Trial): Promise<void> {
  const unit = ['systemd-run', '--quiet', '--slice=apps.slice', '--wait', '--pipe'];
  await wirelessOnly(lab, ...unit);
  await lab.ok(HOST, 'systemctl', ['daemon-reexec']);
  await wirelessOnly(lab, ...unit);
  await lab.ok(HOST, 'systemctl', ['stop', 'apps.slice']);
  await wirelessOnly(lab, ...unit);
  // The unit's own programs run beside ours.
  const filters = ['-p', 'IPAddressDeny=any', '-p', `IPAddressAllow=${SERVER.v4}`];
  await wirelessOnly(lab, ...unit, ...filters);
  await lab.ok(HOST, 'systemctl', ['stop', 'apps.slice']);
}

async function containers({ lab }: Trial): Promise<void> {
  const folder = '/sys/fs/cgroup/docker/c0ffee';
  const into = ['sh', '-c', 'echo $$ >"$0/cgroup.procs"; exec "$@"', folder];
  for (const _ of ['made', 'made anew']) {
    await lab.ok(HOST, 'mkdir', ['-p', folder]);
    await wirelessOnly(lab, ...into);
    await lab.ok(HOST, 'rmdir', [folder, '/sys/fs/cgroup/docker']);
  }
}

export const systemd: Suite = {
  name: 'systemd',
  boot: 'systemd',
  setup,
  teardown,
  cases: [
    { name: 'systemd-stub', title: "systemd-resolved's stub address answers by one line's resolver", run: stubAnswers },
    { name: 'systemd-cgroup', title: 'a restarted unit of a slice has another cgroup', run: restartedCgroup },
    {
      name: 'names-stub',
      title: "behind systemd-resolved's stub, names are asked of the resolver of an application's own line",
      run: namesByStub,
    },
    { name: 'slices', title: 'a rule by cgroup holds for a slice that is stopped and started again', run: slices },
    {
      name: 'containers',
      title: 'a rule by cgroup holds for cgroups made after the daemon has started',
      run: containers,
    },
  ],
};
