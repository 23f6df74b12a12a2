import test from 'ava';
import { TcpEnd } from '../../../router/tcp/port.ts';
import { TcpState } from '../../../router/tcp/settings.ts';
import { SimApp, TcpPair } from '../../kit/tcp-host.ts';
import { TcpPeer } from '../../kit/tcp-peer.ts';

const MSS = 1460;
const MINUTE = 60_000;
const DAY = 86_400_000;

test('what was sent before the link filled up is watched, even if the link never drains', (t) => {
  const p = new TcpPeer();
  p.open();
  const { filter } = p.wire;
  p.wire.filter = (packet, from) => {
    p.wire.a.backlog = p.wire.a.highWater + 1;
    return filter!(packet, from);
  };
  p.app.toSend = 200_000;
  t.true(p.take().length > 0);
  t.like(p.after(5000)[0], { seq: 1 });
});

test('after an hour of silence only what was sent before the latest delivered octets is deemed lost', (t) => {
  const p = new TcpPeer();
  p.open({ noDelay: true }, { sackPermitted: true });
  const octets = (n: number): void => {
    p.app.toSend += n;
    p.take();
  };
  octets(MSS);
  p.after(100);
  p.send({ seq: 1, ack: 1 + MSS });
  p.after(50 * MINUTE); // more than half of what the microsecond clock can tell apart
  const una = 1 + MSS;
  octets(3 * MSS);
  p.after(100);
  p.send({ seq: 1, ack: una, sack: [[una + MSS, una + 2 * MSS]] });
  t.deepEqual(
    p.after(60).map((s) => [s.seq, s.length]),
    [[una, MSS]],
  );
});

test('timestamps older than 24 days forbid nothing, however long the silence', (t) => {
  for (const days of [10, 25, 30, 45]) {
    const p = new TcpPeer();
    p.open({}, { ts: [1000, 0], sackPermitted: true });
    p.after(days * DAY);
    p.send({ seq: 1, ack: 1, length: 10, ts: [500, 0] });
    t.is(p.app.received, days > 24 ? 10 : 0, `${days} days`);
  }
});

test('a doubtful segment is challenged, also a month after the last one', (t) => {
  const p = new TcpPeer();
  p.open();
  for (const days of [0, 26, 30]) {
    p.after(days * DAY);
    p.send({ flags: 'S', seq: 5 });
    t.like(p.take()[0], { flags: 'A', ack: 1 });
  }
});

test('a receiver that takes its window back but keeps answering does not lose the connection', (t) => {
  const p = new TcpPeer();
  p.open();
  p.app.toSend = 2 * MSS;
  p.take();
  p.send({ seq: 1, ack: 1, window: 0 });
  for (let minute = 0; minute < 60; minute++) if (p.after(MINUTE).length > 0) p.send({ seq: 1, ack: 1, window: 0 });
  t.is(p.app.endErrno, undefined);
  p.send({ seq: 1, ack: 1, window: 65535 });
  t.like(p.after(2 * MINUTE)[0], { seq: 1 });
});

test('a receiver that takes its window back and falls silent is given up', (t) => {
  const p = new TcpPeer();
  p.open();
  p.app.toSend = 2 * MSS;
  p.take();
  p.send({ seq: 1, ack: 1, window: 0 });
  p.after(60 * MINUTE);
  t.is(p.app.endErrno, TcpEnd.TimedOut);
});

test('a closed window does not keep a connection alive that nobody owns any more', (t) => {
  const p = new TcpPeer();
  p.open();
  p.app.toSend = 70_000;
  p.take();
  const sent = 1 + 10 * MSS;
  p.send({ seq: 1, ack: sent, window: 0 });
  p.take();
  const c = p.connection;
  c.close();
  for (let second = 0; second < 30 * 60 && c.state !== TcpState.Closed; second++)
    if (p.after(1000).length > 0) p.send({ seq: 1, ack: sent, window: 0 });
  t.is(c.state, TcpState.Closed);
  t.is(p.host.pool.available, p.host.pool.capacity);
});

test('a flow whose route moves to a link with a smaller MTU sends segments that fit from then on', (t) => {
  for (const seed of [1, 2, 3]) {
    const pair = new TcpPair(seed, { latencyMs: 5, rateMbps: 100, mtu: 9000 });
    const { client, server } = pair.open();
    client.toSend = 2_000_000;
    pair.net.runFor(30 + seed);
    // The wire refuses packets beyond its MTU with an exception.
    const narrow = pair.net.wire(
      { world: pair.a.world, index: 3 },
      { world: pair.b.world, index: 4 },
      { latencyMs: 5, rateMbps: 100, mtu: 1280 },
    );
    pair.a.attach(narrow.a);
    pair.b.attach(narrow.b);
    t.true(pair.net.runUntil(() => server.received === client.toSend, 60_000));
    t.is(server.firstWrong, -1);
  }
});

test('transfers with loss survive every wrap of both clocks', (t) => {
  const wraps = [2 ** 31, 2 ** 32, 2 ** 31 / 1000, 2 ** 32 / 1000, (3 * 2 ** 31) / 1000];
  for (const [i, at] of wraps.entries()) {
    const pair = new TcpPair(i + 1, { latencyMs: 20, rateMbps: 50, loss: 0.02, reorder: 0.02 }, at - 400);
    const { client, server } = pair.open();
    client.toSend = 1_500_000;
    server.toSend = 300_000;
    t.true(
      pair.net.runUntil(() => client.endErrno !== undefined && server.endErrno !== undefined, 60_000),
      `start ${at}`,
    );
    t.is(server.received, client.toSend);
    t.is(client.received, server.toSend);
    t.deepEqual([client.firstWrong, server.firstWrong], [-1, -1]);
    t.true(pair.net.nowMs - at < 20_000, 'and no timer slept through it');
    pair.net.runFor(61_000);
    t.is(pair.a.table.size + pair.b.table.size, 0, 'TIME-WAIT ended in time');
  }
});

test('a keepalive two hours away comes in time across the wraps of the millisecond clock', (t) => {
  for (const wrap of [2 ** 31, 2 ** 32]) {
    const p = new TcpPeer(1500, wrap - 3_600_000);
    p.open({ keepAlive: true });
    t.is(p.after(7_199_000).length, 0);
    t.like(p.after(2000)[0], { flags: 'A', seq: 0, length: 0 });
  }
});

test('connections whose peers do not read cannot take all buffer pages from the others', (t) => {
  const pair = new TcpPair(5, { latencyMs: 1 }, 1000, 256);
  const hogs = Array.from({ length: 40 }, (_, i) => pair.open({ port: 1000 + i }));
  for (const { client, server } of hogs) {
    client.toSend = 10_000_000;
    client.finishes = false;
    server.isReading = false;
  }
  pair.net.runFor(20_000);
  t.true(pair.a.pool.available > 0);
  t.true(pair.b.pool.available > 0);
  const { client, server } = pair.open({ port: 80 });
  client.toSend = 3_000_000;
  server.toSend = 1_000_000;
  t.true(pair.net.runUntil(() => server.received === client.toSend && client.received === server.toSend, 60_000));
  t.deepEqual([client.firstWrong, server.firstWrong], [-1, -1]);
  for (const { server: s } of hogs) s.resume();
  t.true(
    pair.net.runUntil(() => hogs.every((h) => h.server.received === h.client.toSend), 600_000),
    'the others go on where they stopped',
  );
  t.true(hogs.every((h) => h.server.firstWrong === -1));
});

test('connections that wait to be accepted cannot take all buffer pages', (t) => {
  const pair = new TcpPair(6, { latencyMs: 1 }, 1000, 256);
  const listener = pair.b.engine.listen(
    { vrf: 0, scope: 0, isV4: true, l0: 0, l1: 0, l2: 0xffff, l3: 0x0a000002, localPort: 90 },
    100,
    { acceptable: () => {} },
  );
  pair.b.listeners.set(90, listener);
  for (let i = 0; i < 60; i++) {
    const app = new SimApp(pair.a);
    app.sendSalt = 11;
    app.toSend = 1_000_000;
    app.connection = pair.a.connect(pair.b, 90, app);
  }
  pair.net.runFor(20_000);
  t.true(listener.waiting > 50);
  t.true(pair.b.pool.available > 0);
  const { client, server } = pair.open({ port: 80 });
  client.toSend = 1_000_000;
  server.toSend = 1_000_000;
  t.true(pair.net.runUntil(() => server.received === client.toSend && client.received === server.toSend, 60_000));
});

test('a link that goes away hands its waiting flows to the next one', (t) => {
  const pair = new TcpPair(8, { latencyMs: 5 });
  const { client, server } = pair.open();
  client.finishes = false;
  pair.net.runFor(50);
  pair.wire.a.backlog = pair.wire.a.highWater + 1;
  client.toSend = 100_000;
  pair.net.runFor(10);
  t.is(server.received, 0);
  const second = pair.net.wire({ world: pair.a.world, index: 3 }, { world: pair.b.world, index: 4 }, { latencyMs: 5 });
  const first = pair.a.link;
  pair.a.attach(second.a);
  pair.b.attach(second.b);
  pair.a.engine.onLinkDrained(first);
  t.true(pair.net.runUntil(() => server.received === client.toSend, 200));
});

test('timestamps of segments that are not believed poison nothing', (t) => {
  const lies = [
    { flags: 'A', ack: 1_000_000 },
    { flags: 'RA', ack: 1 },
    { flags: 'SA', ack: 1 },
  ];
  for (const lie of lies) {
    const p = new TcpPeer();
    p.open({}, { ts: [1000, 0], sackPermitted: true });
    p.send({ seq: 1, ack: 1, length: 10, ts: [1001, 0] });
    // It overlaps the window's left edge: what a guesser of one number can do.
    p.send({ seq: 6, length: 10, ts: [1_000_000_000, 0], ...lie });
    p.take();
    p.send({ seq: 11, ack: 1, length: 10, ts: [1002, 0] });
    t.is(p.app.received, 20, lie.flags);
  }
});
