/** Coming and going of the kernel backend: nothing stays behind, whatever ends it; what runs goes on while it is replaced. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hostAddresses } from '../../kit/access-lines.ts';
import { changedSince } from '../../kit/host-snapshot.ts';
import { HOST, type Suite, type Trial } from './case.ts';
import { HostRouter, RULES, WIFI, WIRED } from './host-router.ts';
import { opener, readOpened, tally } from './opens.ts';
import { leftovers, snapshot } from './snapshot.ts';

const CONNECTS = 5_000;
const REPLACEMENTS = 50;

let host: HostRouter;
let before: string;

async function setup(trial: Trial): Promise<void> {
  host = new HostRouter(trial);
  await host.build();
  host.configure();
  before = await snapshot(host.trial.lab);
}

async function assertAsBefore(): Promise<void> {
  assert.deepEqual(await leftovers(host.trial.lab, before), []);
}

async function upDown({ lab, log }: Trial): Promise<void> {
  const at = performance.now();
  await host.up();
  log(`up after ${((performance.now() - at) / 1000).toFixed(1)} s`);
  assert.match(await lab.ok(HOST, 'ip', ['-d', 'link', 'show', 'type', 'vrf']), /vrf table/);
  assert.notEqual(changedSince(before, await snapshot(lab)).length, 0);
  const downAt = performance.now();
  await host.down();
  log(`down after ${((performance.now() - downAt) / 1000).toFixed(1)} s`);
  await assertAsBefore();
}

async function second(): Promise<void> {
  await host.up();
  const again = await host.router.cli(['up', '-c', host.router.config]);
  assert.notEqual(again.status, 0);
  assert.match(again.stderr, /already|runs/);
  assert.deepEqual(tally(await host.open('wired', 'tcp', { count: 2 })), { [hostAddresses(WIRED).v4]: 2 });
  await host.down();
  await assertAsBefore();
}

/** The daemon's process, not the command that started it. */
async function killDaemon(): Promise<void> {
  const { pid } = await host.status();
  process.kill(pid, 'SIGKILL');
  await host.router.daemon!.exit();
}

async function killed(): Promise<void> {
  await host.up();
  await killDaemon();
  const { status, stdout } = await host.router.cli(['down']);
  assert.equal(status, 0);
  assert.match(stdout, /undone/);
  await assertAsBefore();
  assert.notEqual((await host.router.cli(['down'])).status, 0, 'nothing is left to undo');
}

async function outlived({ lab, log }: Trial): Promise<void> {
  await host.up();
  const app = host.start('mixed', ...opener('tcp', { count: 0, everyMs: 20 }));
  await app.until(/"from"/);
  await killDaemon();
  const killedAt = Date.now();
  await lab.eventually('sockets open without a daemon', async () =>
    readOpened(app.stdout).some(({ at }) => at > killedAt + 500),
  );
  await host.up();
  const upAt = Date.now();
  await lab.eventually('sockets open with the next one', async () =>
    readOpened(app.stdout).some(({ at }) => at > upAt + 500),
  );
  await app.stop();
  const found = tally(readOpened(app.stdout));
  log(`sockets over kill and start: ${JSON.stringify(found)}`);
  assert.deepEqual(Object.keys(found).sort(), host.addresses('v4').sort(), 'none failed, none went another way');
  await host.down();
  await assertAsBefore();
}

async function replaced({ log }: Trial): Promise<void> {
  await host.up();
  const at = performance.now();
  const app = host.start('mixed', ...opener('tcp', { count: CONNECTS, atOnce: 8 }));
  await app.until(/"from"/);
  let done = 0;
  for (; done < REPLACEMENTS; done++) {
    // Every other policy has a hundred rules more, and all groups and rules under other numbers.
    const more = Array.from({ length: 100 }, (_, i) => `  - { match: { to: 198.18.${i}.0/24 }, use: wifi }\n`).join('');
    host.configure({ rest: done % 2 === 0 ? RULES.replace('rules:\n', `rules:\n${more}`) : RULES });
    await host.reload();
  }
  const during = readOpened(app.stdout).length;
  assert.equal(await app.exit(), 0);
  const found = tally(readOpened(app.stdout));
  log(
    `${CONNECTS} connects in ${((performance.now() - at) / 1000).toFixed(1)} s, ${REPLACEMENTS} policies, ${during} by then: ${JSON.stringify(found)}`,
  );
  assert.deepEqual(Object.keys(found).sort(), host.addresses('v4').sort(), 'none failed, none went another way');
  assert.ok(during > 0 && done === REPLACEMENTS);
  host.configure();
  await host.down();
  await assertAsBefore();
}

/** The interface goes into another namespace: for the host it vanishes, with its addresses. */
async function vanished({ lab, log }: Trial): Promise<void> {
  await host.up();
  const elsewhere = await lab.namespace('elsewhere');
  await lab.ok(HOST, 'ip', ['link', 'set', WIFI.device, 'netns', elsewhere]);
  await host.usable({ wired: true, wifi: false });
  assert.deepEqual(tally(await host.open(undefined, 'tcp', { count: 6 })), { [hostAddresses(WIRED).v4]: 6 });
  await lab.ok(elsewhere, 'ip', ['link', 'set', WIFI.device, 'netns', '1']);
  // Whoever manages the host's interfaces sets it up as before.
  const { v4, v6 } = hostAddresses(WIFI);
  const batch = [
    `link set ${WIFI.device} up`,
    `addr add ${v4}/24 dev ${WIFI.device}`,
    `addr add ${v6}/64 dev ${WIFI.device} nodad`,
    `route add default via 192.168.${WIFI.net}.1 dev ${WIFI.device} metric ${100 * WIFI.net}`,
    `route add default via fd00:${WIFI.net}::1 dev ${WIFI.device} metric ${100 * WIFI.net}`,
  ];
  await lab.ok(HOST, 'ip', ['-batch', '-'], { input: `${batch.join('\n')}\n` });
  await host.usable({ wired: true, wifi: true });
  const found = tally(await host.open('mixed', 'tcp', { count: 6 }));
  log(`when it is back: ${JSON.stringify(found)}`);
  assert.equal(Object.keys(found).length, 2);
  await host.down();
  // The interface itself is another one now, and the other namespace is the lab's.
  const isOurs = (line: string): boolean => !line.includes(`"${WIFI.device}"`) && !line.endsWith(elsewhere);
  const left = changedSince(before, await snapshot(lab)).filter(isOurs);
  assert.deepEqual(left, []);
  before = await snapshot(host.trial.lab);
}

/** A start that has to fail, in words that say why, and leaves nothing. */
async function refused(words: RegExp): Promise<void> {
  const { status, stdout, stderr } = await host.router.cli(['up', '-c', host.router.config]);
  assert.notEqual(status, 0, stdout);
  assert.match(stderr, words);
  await assertAsBefore();
}

async function cgroupV1(): Promise<void> {
  const script = 'umount /sys/fs/cgroup && mount -t cgroup -o none,name=old cgroup /sys/fs/cgroup && exec "$@"';
  const up = host.router.command(['up', '-c', host.router.config]);
  const { status, stderr } = await host.trial.lab.run(
    HOST,
    'unshare',
    ['--mount', 'sh', '-c', script, 'sh', ...up.words],
    up.options,
  );
  assert.notEqual(status, 0);
  assert.match(stderr, /cgroup v2/);
  await assertAsBefore();
}

async function noInterface(): Promise<void> {
  host.configure({ more: '  third:\n    kernel: { interface: eth9 }\n' });
  await refused(/eth9/);
  host.configure();
}

/** Groups have a cgroup as long as a daemon runs, and it goes even when the applications in it do not. */
async function groupsGo({ lab }: Trial): Promise<void> {
  await host.up();
  const app = host.start('wired', 'sleep', '1000');
  const folder = '/sys/fs/cgroup/mlshim';
  await lab.eventually('the group has a process', async () => {
    const [instance] = existsSync(folder) ? readdirSync(folder) : [];
    if (instance === undefined) return false;
    return (await lab.ok(HOST, 'cat', [join(folder, instance, 'wired', 'cgroup.procs')])) !== '';
  });
  await host.down();
  await assertAsBefore();
  await app.stop();
}

export const lifecycle: Suite = {
  name: 'lifecycle',
  boot: 'daemon',
  setup,
  cases: [
    { name: 'up-down', title: 'after up and down nothing is left of the kernel backend', run: upDown },
    { name: 'up-twice', title: 'a second daemon is refused and disturbs nothing', run: second },
    { name: 'killed', title: 'after SIGKILL of the daemon and down nothing is left', run: killed },
    { name: 'outlived', title: 'sockets keep their lines while the daemon is killed and started again', run: outlived },
    {
      name: 'replaced',
      title: '50 policies during 5,000 connects: no socket fails, none goes another way',
      run: replaced,
    },
    { name: 'groups-go', title: 'the cgroup of a group goes on down, with an application still in it', run: groupsGo },
    { name: 'no-interface', title: 'an interface that is not there is named, and nothing is left', run: noInterface },
    { name: 'no-cgroup2', title: 'a host with cgroup v1 only is a clear error, and nothing is left', run: cgroupV1 },
    {
      name: 'vanished',
      title: 'an interface that vanishes takes its uplink down, and brings it back with it',
      run: vanished,
    },
  ],
};
