import test from 'ava';
import { TcpEnd } from '../../../router/tcp/port.ts';
import { SimApp, SimFlow, TcpPair } from '../../kit/tcp-host.ts';
import { TcpPeer } from '../../kit/tcp-peer.ts';

test('a full accept queue answers no more SYNs, and the rest connect when there is room', (t) => {
  const p = new TcpPair(1, { latencyMs: 1 });
  const listener = p.b.engine.listen(SimFlow.between(2, 80, 0, 0, 4), 2, { acceptable: () => {} });
  p.b.listeners.set(80, listener);
  const apps = Array.from({ length: 5 }, () => new SimApp(p.a));
  for (const app of apps) app.connection = p.a.connect(p.b, 80, app);
  p.net.runFor(500);
  t.is(listener.waiting, 3, 'one more than the backlog, as on Linux');
  t.true(p.b.engine.counters.listenOverflows > 0);
  const accepted = [];
  const owner = new SimApp(p.b);
  for (let c = listener.accept(owner); c !== undefined; c = listener.accept(owner)) accepted.push(c);
  p.net.runFor(5000);
  t.is(accepted.length + listener.waiting, 5);
  t.true(apps.every((a) => a.isEstablished));
});

test('octets that arrive before accept are delivered after it', (t) => {
  const p = new TcpPair(2, { latencyMs: 1 });
  const listener = p.b.engine.listen(SimFlow.between(2, 80, 0, 0, 4), 2, { acceptable: () => {} });
  p.b.listeners.set(80, listener);
  const client = new SimApp(p.a);
  client.toSend = 5000;
  client.connection = p.a.connect(p.b, 80, client);
  p.net.runFor(100);
  const server = new SimApp(p.b);
  const c = listener.accept(server)!;
  t.is(server.received, 0);
  c.pull();
  t.is(server.received, 5000);
  t.true(server.isPeerFinished);
});

test('a closed listener resets what waited and forgets what was half open', (t) => {
  const p = new TcpPair(3, { latencyMs: 1 });
  const listener = p.b.engine.listen(SimFlow.between(2, 80, 0, 0, 4), 5, { acceptable: () => {} });
  p.b.listeners.set(80, listener);
  const client = new SimApp(p.a);
  client.connection = p.a.connect(p.b, 80, client);
  p.net.runFor(50);
  listener.close();
  p.net.runFor(50);
  t.is(client.endErrno, TcpEnd.Reset);
  t.is(p.b.table.size, 0);
});

test('a flood of SYNs stays bounded, pushes out the oldest, and does not stop an honest peer', (t) => {
  const p = new TcpPeer();
  p.listen();
  for (let i = 0; i < 5000; i++) {
    p.peerPort = 10_000 + i;
    p.send({ flags: 'S', seq: i, mss: 1460 });
  }
  p.take();
  t.true(p.host.table.size <= 1024);
  t.is(p.host.engine.counters.synDrops, 5000 - 1024);
  p.peerPort = 9999;
  p.send({ flags: 'S', seq: 0, mss: 1460 });
  t.is(p.take()[0]!.flags, 'SA');
  p.send({ seq: 1, ack: 1 });
  p.take();
  t.true(p.app.isEstablished);
});

test('a SYN-ACK is repeated five times, then forgotten', (t) => {
  const p = new TcpPeer();
  p.listen();
  p.send({ flags: 'S', seq: 0, mss: 1460 });
  const all = [...p.take(), ...p.after(100_000)];
  t.is(all.filter((s) => s.flags === 'SA').length, 6);
  t.is(p.host.table.size, 0);
});

test('a connection of a flow in use is refused, one in TIME-WAIT is replaced after a second', (t) => {
  const p = new TcpPair(4, { latencyMs: 1 });
  const { client, server } = p.open();
  p.net.runUntil(() => server.isEstablished, 1000);
  const c = client.connection!;
  const again = (): unknown => p.a.engine.connect(c, new SimApp(p.a), {}, p.net.tick);
  t.is(again(), undefined);
  c.shutdownWrite();
  p.net.runUntil(() => server.isPeerFinished, 1000);
  server.connection!.shutdownWrite();
  p.net.runUntil(() => client.endErrno === 0, 1000);
  t.is(again(), undefined);
  p.net.runFor(1200);
  t.not(again(), undefined);
});
