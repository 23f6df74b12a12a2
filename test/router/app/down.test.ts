/** `mlshim down`, whatever the routing worker does: a filter function waits for a pipe that nobody writes to. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { BgpPeers } from '../../../router/control/messages.ts';
import { until } from '../../bgp/kit/bird.ts';
import { birdFile, TABLE_ASN } from '../../bgp/kit/mrt.ts';
import { exited, printed, Side } from './pair.ts';

interface Stage {
  readonly side: Side;
  readonly pid: number;
}

/** A router whose only peer is a file, read through `fromPeer` of a module with this text. */
function begin(t: ExecutionContext, module: (folder: string) => string): Stage {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-down-'));
  const side = new Side(folder, '127.0.0.1');
  writeFileSync(join(folder, 'f.mjs'), module(folder));
  birdFile(folder);
  writeFileSync(
    join(folder, 'mlshim.yaml'),
    `backend: userspace
uplinks: { lan: { kernel: { interface: none0 } } }
bgp:
  asn: 65001
  router_id: 10.0.0.2
  filters: ./f.mjs
  peers:
    - { name: x, asn: ${TABLE_ASN}, address: 127.0.0.2, mrt: bird.mrt, import: { module: fromPeer }, export: none }
`,
  );
  const up = side.cli('up', '-c', 'mlshim.yaml');
  const pid = Number(/pid (\d+)/.exec(up.stdout)?.[1]);
  t.teardown(() => {
    if (pid > 0 && isThere(pid)) process.kill(pid, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  t.is(up.status, 0, up.stderr);
  return { side, pid };
}

function isThere(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

test('a router whose routing worker hangs is stopped all the same, and down says what was left out', async (t) => {
  const { side, pid } = begin(t, (folder) => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    return `import { readFileSync, writeFileSync } from 'node:fs';
export const fromPeer = (r) => {
  writeFileSync('${folder}/asked', '');
  readFileSync('${folder}/pipe'); // nobody writes
  return r;
};\n`;
  });
  await until(() => existsSync(join(side.dir, 'asked')), 'the question');
  const { status, stderr } = side.cli('down');
  t.is(status, 0, stderr);
  t.regex(stderr, /routing worker does not answer/);
  t.false(isThere(pid));
  t.is(side.cli('status').status, 3, 'nobody is left');
});

test('a router that works is stopped without a word', async (t) => {
  const { side, pid } = begin(t, () => 'export const fromPeer = (r) => r;\n');
  await until(() => side.json<BgpPeers>('bgp').peers[0]!.accepted > 0, 'routes');
  const { status, stdout, stderr } = side.cli('down');
  t.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
  t.false(isThere(pid));
});

for (const [when, leave] of [
  ['before it has answered', (socket) => socket.once('data', () => socket.destroy())],
  ['before it has read', (socket) => socket.destroy()],
] satisfies (readonly [string, (socket: Socket) => void])[]) {
  test(`a daemon that leaves ${when} is not taken for one that was killed`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'mlshim-down-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    mkdirSync(join(folder, 'mlshim'));
    const leaving = createServer({ pauseOnConnect: when === 'before it has read' }, leave);
    await new Promise<void>((resolve) => {
      leaving.listen(join(folder, 'mlshim', 'control'), resolve);
    });
    t.teardown(() => leaving.close());
    const down = new Side(folder, '127.0.0.1').start('down');
    t.regex(await printed(down, /hint/), /^mlshim: the daemon closed the connection without an answer/);
    t.is(await exited(down), 3);
  });
}
