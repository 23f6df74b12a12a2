import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Io } from '../../../router/cli/command.ts';
import { type Check, checkKernel, doctorText } from '../../../router/cli/doctor.ts';
import { main } from '../../../router/cli/main.ts';
import type { Config } from '../../../router/config/model.ts';
import { ControlServer, type Handlers } from '../../../router/control/server.ts';
import type { HostProbe } from '../../../router/kernel/host-probes.ts';
import { STATUS } from './samples.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const PEER = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
/** A program of ours that the Go linker has made. */
const GO_PROGRAM = join(import.meta.dirname, '../../../mlshim-wg');

function folder(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function doctor(dir: string, yaml: string, app: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  writeFileSync(join(dir, 'mlshim.yaml'), yaml, { mode: 0o600 });
  let out = '';
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: () => undefined,
    env: { MLSHIM_SOCKET: join(dir, 'shim'), PATH: process.env['PATH'], ...env },
    isTty: false,
  };
  const status = await main(['doctor', '--json', '-c', join(dir, 'mlshim.yaml'), '--', ...app], io);
  const { checks } = JSON.parse(out) as { checks: readonly Check[] };
  const verdicts = (name: string) => checks.filter((c) => c.name === name).map((c) => c.verdict);
  return { status, checks, verdicts };
}

const uplink = (endpoint: string, key: string = KEY): string =>
  `backend: userspace
uplinks: { a: { wireguard: { private_key: ${key}, peers: [{ public_key: ${PEER}, endpoint: '${endpoint}' }] } } }\n`;

test('what is in order is ok, and nothing failed is 0', async (t) => {
  const { status, checks, verdicts } = await doctor(folder(t), uplink('127.0.0.1:51820'), ['sh']);
  t.deepEqual(
    checks.filter((c) => c.verdict !== 'ok'),
    [],
  );
  for (const name of [
    'config',
    'key-permissions',
    'udp-egress',
    'path-mtu',
    'app-is-dynamic',
    'app-not-setuid',
    'clock',
    'router',
  ])
    t.deepEqual(verdicts(name), ['ok'], name);
  t.is(status, 0);
});

test('a configuration that is refused fails, and says how many errors it has', async (t) => {
  const { status, checks } = await doctor(folder(t), 'uplinks: { a: {} }\nrules: [{}]\n');
  t.like(
    checks.find((c) => c.name === 'config'),
    { verdict: 'fail' },
  );
  t.regex(checks.find((c) => c.name === 'config')!.text, /2 errors$/);
  t.is(status, 1);
});

test('a key that others can read is a warning, which is no failure', async (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, 'a.key'), KEY);
  chmodSync(join(dir, 'a.key'), 0o644);
  const { status, verdicts } = await doctor(dir, uplink('127.0.0.1:51820', '!file a.key'));
  t.deepEqual(verdicts('key-permissions'), ['warn']);
  t.deepEqual(verdicts('config'), ['ok']);
  t.is(status, 0);
});

test('an endpoint that UDP of this host cannot reach fails', async (t) => {
  // The kernel refuses a broadcast address to a socket that has not asked for it, whatever routes there are.
  const { status, checks } = await doctor(folder(t), uplink('255.255.255.255:51820'));
  t.like(
    checks.find((c) => c.name === 'udp-egress'),
    { verdict: 'fail' },
  );
  t.regex(checks.find((c) => c.name === 'udp-egress')!.text, /uplink a: UDP to 255\.255\.255\.255 .*EACCES/);
  t.is(status, 1);
});

test('programs that a preload library cannot reach fail, and so does one that is not there', async (t) => {
  const dir = folder(t);
  const suid = join(dir, 'suid');
  copyFileSync('/bin/true', suid);
  chmodSync(suid, 0o4755);
  const yaml = uplink('127.0.0.1:51820');
  t.deepEqual((await doctor(dir, yaml, [GO_PROGRAM])).verdicts('app-is-dynamic'), ['fail']);
  t.deepEqual((await doctor(dir, yaml, [suid])).verdicts('app-not-setuid'), ['fail']);
  t.deepEqual((await doctor(dir, yaml, ['no-such-program'])).verdicts('app-found'), ['fail']);
});

test('what the kernel backend lacks is a failure only where it is asked for', async (t) => {
  const dir = folder(t);
  const kernel = (backend: string) =>
    `backend: ${backend}\nuplinks: { a: { kernel: { interface: eth1 } } }\nrules: [{ use: a }]\n`;
  const demanded = await doctor(dir, kernel('kernel'));
  for (const name of ['privileges', 'cgroup-v2', 'kernel-version', 'kernel-backend'])
    t.is(demanded.verdicts(name).length, 1, name);
  const offered = await doctor(dir, kernel('auto'));
  t.false(offered.checks.some((c) => c.verdict === 'fail'));
  const isThere = demanded.verdicts('kernel-backend')[0] === 'ok';
  t.is(demanded.status, isThere ? 0 : 1);
  t.deepEqual(offered.verdicts('kernel-backend'), [isThere ? 'ok' : 'warn']);
  t.deepEqual((await doctor(dir, kernel('userspace'))).verdicts('kernel-backend'), []);
});

test('each probe is listed with its reason and what to do, and auto has the first that is needed', async (t) => {
  const probes: HostProbe[] = ['cgroup-v2', 'bpffs', 'program-connect4', 'socket-destroy', 'vrf-device'].map(
    (name) => ({
      ...{ name, isPresent: name === 'cgroup-v2', isNeeded: name !== 'bpffs' },
      ...{ detail: `reason of ${name}`, hint: `remedy of ${name}` },
    }),
  );
  for (const backend of ['auto', 'kernel'] as const) {
    const missing = backend === 'kernel' ? 'fail' : 'warn';
    const said: Check[] = [];
    const say = (name: string, verdict: Check['verdict'], text: string, hint = '') =>
      said.push({ name, verdict, text, hint });
    const config = { backend, isolation: 'vrf', uplinks: [] } as unknown as Config;
    await checkKernel(say, config, async () => probes);
    const line = (name: string, verdict: string) => [name, verdict, `reason of ${name}`, `remedy of ${name}`];
    t.deepEqual(
      said.map((c) => [c.name, c.verdict, c.text, c.hint]),
      [
        ['cgroup-v2', 'ok', 'reason of cgroup-v2', ''],
        line('bpffs', 'warn'),
        ...['program-connect4', 'socket-destroy', 'vrf-device'].map((name) => line(name, missing)),
        [
          'kernel-backend',
          missing,
          'the kernel backend cannot be had: program-connect4: reason of program-connect4',
          'remedy of program-connect4',
        ],
      ],
    );
  }
});

test('parts that are not built fail', async (t) => {
  const { status, verdicts } = await doctor(folder(t), uplink('127.0.0.1:51820'), [], { MLSHIM_WG_BIN: '/nowhere' });
  t.deepEqual(verdicts('wireguard-built'), ['fail']);
  t.deepEqual(verdicts('shim-built'), ['ok']);
  t.is(status, 1);
});

test('problems of the running router and its silent tunnels are told', async (t) => {
  const dir = folder(t);
  const down = { ...STATUS.uplinks[0]!, name: 'b', state: 'down' };
  const server = new ControlServer({
    status: () => ({ ...STATUS, uplinks: [STATUS.uplinks[0]!, down] }),
  } as unknown as Handlers);
  await server.listen(join(dir, 'control'));
  t.teardown(() => server.close());
  const { status, verdicts } = await doctor(dir, uplink('127.0.0.1:51820'));
  t.deepEqual(verdicts('router'), ['warn']);
  t.deepEqual(verdicts('wg-handshake-age'), ['ok', 'fail']);
  t.is(status, 1);
});

test('text has a line for each check, its hint below, and the sum', (t) => {
  t.is(
    doctorText([
      { name: 'clock', verdict: 'ok', text: 'the clock is later than this program', hint: '' },
      { name: 'config', verdict: 'fail', text: 'mlshim.yaml: 2 errors', hint: 'mlshim config check prints each' },
    ]),
    `ok    clock   the clock is later than this program
fail  config  mlshim.yaml: 2 errors
              hint: mlshim config check prints each
2 checks: 1 failed, 0 warnings
`,
  );
});
