/**
 * The user-space backend beside Yama, as Ubuntu has it: an unprivileged router ends flows of apps that it has not started, and
 * nobody else gets into them.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { ask } from '../../../router/control/client.ts';
import type { Status } from '../../../router/control/messages.ts';
import { pathsIn } from '../../../router/control/paths.ts';
import { PTRACE_SCOPE } from '../../../router/kernel/ptrace.ts';
import { AccessLines } from '../../kit/access-lines.ts';
import { SERVER } from '../../kit/isps.ts';
import type { LabProcess } from '../../kit/lab.ts';
import { Router } from '../../kit/router.ts';
import { HOST, type Suite, type Trial } from './case.ts';
import { WIFI } from './host-router.ts';

const PORT = 7100;
/** Who opens connections in the app: it, another thread of it, a child. */
const PARTS = ['main', 'thread', 'child'] as const;
const CONFIG = `backend: userspace
uplinks: { wifi: { kernel: { interface: ${WIFI.device} } } }
rules: [{ use: wifi }]
`;
/** A server that keeps connections and says nothing. */
const KEEPER = `require('node:net').createServer((s) => s.on('error', () => {}))
  .listen(${PORT}, '${SERVER.v4}', () => console.log('ready'))`;
/** What pidfd_getfd(2) says of a descriptor that nobody has: EBADF to who may look. */
const REACHES = `import { loadNative } from '${join(import.meta.dirname, '../../../router/native/index.js')}';
console.log(loadNative().endSocketOf(Number(process.argv[1]), -1, 0));`;
const [EPERM, EBADF] = [1, 9];

let access: AccessLines;
let router: Router;
let scopeBefore: string;

const setScope = ({ lab }: Trial, scope: string): Promise<string> =>
  lab.ok(HOST, 'sysctl', ['-qw', `${PTRACE_SCOPE}=${scope}`]);

async function setup(trial: Trial): Promise<void> {
  const { lab } = trial;
  scopeBefore = (await lab.ok(HOST, 'sysctl', ['-n', PTRACE_SCOPE])).trim();
  access = new AccessLines(lab, HOST);
  await access.build({ withDelay: false });
  await access.serve(process.execPath, ['-e', KEEPER]).until(/ready/);
  router = new Router(lab, HOST);
  router.write(CONFIG);
  await router.up();
}

async function teardown(trial: Trial): Promise<void> {
  await setScope(trial, scopeBefore);
  await router.down();
}

/** Asked directly: a command of ours takes a second to start on an emulated processor. */
const status = (): Promise<Status> => ask(pathsIn(join(router.dir, 'mlshim')).control, 'status', {});

/** An app of the router's account that the router has not started. */
function start(): LabProcess {
  const words = [join(import.meta.dirname, 'holds-main.js'), SERVER.v4, String(PORT)];
  return router.appStart(process.execPath, words, { isTalkedTo: true });
}

/** Wait until every part of the app has said a word so often. */
async function said(app: LabProcess, word: string, times = 1): Promise<void> {
  const lines = (part: string): number => app.stdout.split('\n').filter((line) => line === `${part} ${word}`).length;
  await router.lab
    .eventually(`all say "${word}"`, async () => PARTS.every((part) => lines(part) === times))
    .catch((error: unknown) => {
      throw new Error(`${String(error)}: ${app.stdout}${app.stderr}`);
    });
}

async function open(app: LabProcess, times = 1): Promise<void> {
  app.child.stdin!.write('open\n');
  await said(app, 'open', times);
}

async function wifiIs(usable: boolean): Promise<void> {
  await access.unplug(WIFI.name, !usable);
  await router.lab.eventually(`the uplink is ${usable ? '' : 'not '}usable`, async () => {
    return (await status()).uplinks[0]!.usable === usable;
  });
}

/** Answer of the kernel to another process of the router's account that wants to reach into the app. */
async function reaches(pid: number): Promise<number> {
  const words = ['--input-type=module', '-e', REACHES, String(pid)];
  return Number(await router.lab.ok(HOST, process.execPath, words, { unprivileged: true }));
}

async function restricted(trial: Trial): Promise<void> {
  const { log } = trial;
  const app = start();
  await app.until(/ready (\d+)/);
  const pid = Number(/ready (\d+)/.exec(app.stdout)![1]);
  await setScope(trial, '0');
  assert.equal(await reaches(pid), -EBADF);
  await setScope(trial, '1');
  assert.equal(await reaches(pid), -EPERM);
  await open(app);
  assert.equal(await reaches(pid), -EPERM, 'the router alone is let in');
  const at = performance.now();
  await access.unplug(WIFI.name, true);
  await said(app, 'ECONNRESET');
  log(`flows of three parts of an app ended after ${(performance.now() - at).toFixed(0)} ms`);
  await app.stop();
  await wifiIs(true);
}

async function restarted(trial: Trial): Promise<void> {
  await setScope(trial, '1');
  const app = start();
  await open(app);
  const { pid } = await status();
  process.kill(pid, 'SIGKILL');
  await router.daemon!.exit();
  await router.up();
  await open(app, 2);
  await wifiIs(false);
  // Those of before the router does not know.
  await said(app, 'ECONNRESET');
  await app.stop();
  await wifiIs(true);
}

async function adminOnly(trial: Trial): Promise<void> {
  await setScope(trial, '2');
  const app = start();
  await open(app);
  await wifiIs(false);
  await router.daemon!.until(/flows cannot be ended.*ptrace_scope/);
  assert.doesNotMatch(app.stdout, /ECONNRESET/);
  const { stdout } = await router.cli(['doctor', '--json', '-c', router.config]);
  const { checks } = JSON.parse(stdout) as { checks: readonly { readonly name: string; readonly verdict: string }[] };
  assert.equal(checks.find(({ name }) => name === 'ptrace-scope')?.verdict, 'warn', stdout);
  await app.stop();
  await wifiIs(true);
}

export const yama: Suite = {
  name: 'yama',
  boot: 'plain',
  setup,
  teardown,
  cases: [
    {
      name: 'yama-restricted',
      title:
        'with ptrace_scope 1 an unprivileged router ends flows of an app, of its threads and its children, and nobody else may',
      run: restricted,
    },
    { name: 'yama-restart', title: 'so does a router that was killed and started again', run: restarted },
    {
      name: 'yama-admin-only',
      title: 'with ptrace_scope 2 flows are left to end by themselves, the router says so, and doctor warns',
      run: adminOnly,
    },
  ],
};
