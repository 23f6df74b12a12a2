import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test from 'ava';
import { streamOf } from '../../../router/app/bgp-transport.ts';

async function pair(t: { teardown(fn: () => void): void }): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [near] = (await once(server, 'connection')) as [Socket];
  t.teardown(() => {
    far.destroy();
    near.destroy();
    server.close();
  });
  return { near, far };
}

test('a peer reads our last words also when we have not read all of its own', async (t) => {
  const { near, far } = await pair(t);
  far.write(Buffer.alloc(1 << 20));
  await once(near, 'readable');
  const heard: Buffer[] = [];
  far.on('data', (octets: Buffer) => heard.push(octets));
  // Who was reset before that cannot send any more.
  far.on('end', () => far.end(Buffer.alloc(1 << 16)));
  const errors: unknown[] = [];
  far.on('error', (e) => errors.push(e));
  const closed = once(near, 'close');
  const stream = streamOf(near, undefined);
  stream.write(Buffer.from('enough'));
  stream.close(false);
  await once(far, 'close');
  await closed;
  t.deepEqual(errors, []);
  t.is(Buffer.concat(heard).toString(), 'enough');
});

test('a peer that does not end is left after a second', async (t) => {
  const { near, far } = await pair(t);
  far.resume();
  streamOf(near, undefined).close(false);
  await once(near, 'close');
  t.false(far.writableEnded);
});
