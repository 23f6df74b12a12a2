import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test from 'ava';
import { KernelRefusal } from '../../../router/kernel/netlink/socket.ts';
import { type ProcessNews, watchProcesses } from '../../../router/kernel/processes.ts';
import { countSockets, destroySockets } from '../../../router/kernel/sockets.ts';
import { Addr } from '../../../router/lib/addr.ts';

const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? test : test.skip;
const why = isRoot ? '' : ' (needs root)';

asRoot(`a process is told of when it starts, takes its program and ends; its threads are not${why}`, async (t) => {
  const seen: ProcessNews[] = [];
  let wake = (): void => {};
  const watch = (() => {
    try {
      return watchProcesses((news) => {
        seen.push(news);
        wake();
      });
    } catch (e) {
      if (e instanceof KernelRefusal) return e;
      throw e;
    }
  })();
  if (watch instanceof KernelRefusal) {
    t.pass(`no process events here: ${watch.message}`);
    return;
  }
  // Node starts threads of its own.
  const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
  const of = (pid: number | undefined) => seen.filter((n) => n.kind !== 'lost' && n.pid === pid);
  while (!of(child.pid).some((n) => n.kind === 'exit')) await new Promise<void>((resolve) => (wake = resolve));
  watch.close();
  t.deepEqual(
    of(child.pid).map((n) => n.kind),
    ['fork', 'exec', 'exit'],
  );
  t.like(of(child.pid)[0], { parent: process.pid });
});

asRoot(`connections from an address are counted and ended, and its listener stays${why}`, async (t) => {
  // Of the loopback network, for this test only.
  const own = `127.${100 + (process.pid & 63)}.${(process.pid >> 6) & 255}.2`;
  const source = Addr.parse(own)!;
  const server = createServer().listen(0, own);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect({ port, host: own, localAddress: '127.0.0.1' });
  const [far] = await accepted;
  const ended = once(far, 'error') as Promise<[NodeJS.ErrnoException]>;
  client.on('error', () => {});
  t.is(countSockets({ source }), 1, 'the accepted one; the listener does not count');
  t.is(destroySockets({ source }), 1);
  t.is((await ended)[0].code, 'ECONNABORTED');
  t.is(countSockets({ source }), 0);
  const again = once(server, 'connection');
  const second = connect({ port, host: own });
  await again;
  second.destroy();
  client.destroy();
  server.close();
});

test('sockets of a device that is not there are none', (t) => {
  t.is(countSockets({ device: 'mlsabsent0' }), 0);
});
