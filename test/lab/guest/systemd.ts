/** A host as distributions set it up: systemd as process 1, names by systemd-resolved's stub, applications in slices. */
import assert from 'node:assert/strict';
import { rmSync, symlinkSync } from 'node:fs';
import { AccessLines, gateway, LINES } from '../../kit/access-lines.ts';
import { HOST, type Suite, type Trial } from './case.ts';

const STUB = '127.0.0.53';

let access: AccessLines;

async function setup({ lab }: Trial): Promise<void> {
  access = new AccessLines(lab, HOST);
  await access.build({ withDelay: false });
  await access.resolvers();
  await lab.ok(HOST, 'systemctl', ['start', 'systemd-resolved']);
  rmSync('/etc/resolv.conf', { force: true });
  symlinkSync('/run/systemd/resolve/stub-resolv.conf', '/etc/resolv.conf');
  // As DHCP would tell it; names are asked over the first line alone, so that an answer by the other one is news.
  const [wired] = LINES as [(typeof LINES)[number]];
  await lab.ok(HOST, 'resolvectl', ['dns', wired.device, gateway(wired).v4]);
  await lab.ok(HOST, 'resolvectl', ['domain', wired.device, '~.']);
}

async function teardown({ lab }: Trial): Promise<void> {
  await lab.ok(HOST, 'systemctl', ['stop', 'systemd-resolved']);
  rmSync('/etc/resolv.conf');
}

async function stubAnswers({ lab, log }: Trial): Promise<void> {
  log((await lab.ok(HOST, 'systemctl', ['--version'])).split('\n')[0]!);
  const found = await lab.ok(HOST, 'getent', ['ahostsv4', 'which.example']);
  assert.match(found, new RegExp(`^${LINES[0]!.which} `));
  const asked = await lab.ok(HOST, 'dig', ['+short', `@${STUB}`, 'which.example']);
  assert.equal(asked.trim(), LINES[0]!.which);
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

export const systemd: Suite = {
  name: 'systemd',
  boot: 'systemd',
  setup,
  teardown,
  cases: [
    { name: 'systemd-stub', title: "systemd-resolved's stub address answers by one line's resolver", run: stubAnswers },
    { name: 'systemd-cgroup', title: 'a restarted unit of a slice has another cgroup', run: restartedCgroup },
  ],
};
