import { once } from 'node:events';
import { Socket } from 'node:net';
import test from 'ava';
import type { FromDataplane } from '../../../router/app/dataplane-protocol.ts';
import { type DataplaneUnderTest, startDataplane } from '../../kit/dataplane.ts';

type Accepted = FromDataplane & { readonly kind: 'accepted' };

let dataplane: DataplaneUnderTest;
const accepted: Accepted[] = [];
let onAccepted: () => void = () => undefined;

test.before(async () => {
  dataplane = await startDataplane({
    onEvent: (event) => {
      if (event.kind !== 'accepted') return;
      accepted.push(event);
      onAccepted();
    },
  });
});

test.after.always(() => dataplane.stop());

async function nextAccepted(): Promise<Accepted> {
  if (accepted.length === 0)
    await new Promise<void>((resolve) => {
      onAccepted = resolve;
    });
  return accepted.shift()!;
}

async function connect(port: number): Promise<{ fd: number; errno: number }> {
  const { reply } = dataplane.client.request({ kind: 'stream-connect', vrf: 0, remote: '127.0.0.1', port });
  const { result, errno } = await reply;
  return { fd: (result as { fd: number } | undefined)?.fd ?? -1, errno };
}

async function text(socket: Socket): Promise<string> {
  let all = '';
  socket.on('data', (chunk) => {
    all += String(chunk);
  });
  await once(socket, 'end');
  return all;
}

test.serial('a thread of the daemon listens, connects and exchanges octets through the stack', async (t) => {
  const listen = dataplane.client.request({ kind: 'stream-listen', vrf: 0, port: 1790 });
  t.is((await listen.reply).errno, 0);
  const { fd } = await connect(1790);
  t.true(fd >= 0);
  const peer = await nextAccepted();
  t.is(peer.listen, listen.id);
  t.is(peer.remote, '127.0.0.1');
  t.is(peer.local, '127.0.0.1');
  const near = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
  const far = new Socket({ fd: peer.fd, readable: true, writable: true, allowHalfOpen: true });
  const big = 'x'.repeat(3_000_000);
  near.end(big);
  t.is((await text(far)).length, big.length);
  far.end('answer');
  t.is(await text(near), 'answer');
  near.destroy();
  far.destroy();
});

test.serial('a second listener on the port is told so', async (t) => {
  const { reply } = dataplane.client.request({ kind: 'stream-listen', vrf: 0, port: 1790 });
  t.is((await reply).errno, 98);
});

test.serial('closing a listener frees its port, and connecting to it is refused', async (t) => {
  const listen = dataplane.client.request({ kind: 'stream-listen', vrf: 0, port: 1791 });
  t.is((await listen.reply).errno, 0);
  dataplane.client.send({ kind: 'stream-unlisten', listen: listen.id });
  t.is((await connect(1791)).errno, 111);
  const again = dataplane.client.request({ kind: 'stream-listen', vrf: 0, port: 1791 });
  t.is((await again.reply).errno, 0);
});

test.serial('what cannot be reached is an errno', async (t) => {
  const { reply } = dataplane.client.request({ kind: 'stream-connect', vrf: 0, remote: '192.0.2.1', port: 179 });
  t.is((await reply).errno, 101);
  const bad = dataplane.client.request({ kind: 'stream-connect', vrf: 0, remote: 'nonsense', port: 179 });
  t.is((await bad.reply).errno, 22);
});

test.serial('a stream whose thread destroys it is reset or ended for the peer', async (t) => {
  const { fd } = await connect(1790);
  const peer = await nextAccepted();
  const far = new Socket({ fd: peer.fd, readable: true, writable: true });
  new Socket({ fd, readable: true, writable: true }).destroy();
  far.on('error', () => undefined);
  far.resume();
  await once(far, 'close');
  t.true(far.destroyed);
});

test.serial('a drain is answered when no app holds a socket', async (t) => {
  const { reply } = dataplane.client.request({ kind: 'drain' });
  t.is((await reply).errno, 0);
});
