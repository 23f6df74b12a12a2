import test from 'ava';
import { TcpEnd } from '../../../router/tcp/port.ts';
import { TcpPair } from '../../kit/tcp-host.ts';
import { TcpPeer } from '../../kit/tcp-peer.ts';

const MSS = 1460;

test('Nagle holds a second short segment until the first is acknowledged; TCP_NODELAY does not', (t) => {
  for (const noDelay of [false, true]) {
    const p = new TcpPeer();
    p.accept({ noDelay });
    p.app.toSend = 10;
    t.like(p.take()[0], { flags: 'PA', length: 10 });
    p.app.toSend = 20;
    if (noDelay) t.like(p.take()[0], { length: 10, seq: 11 });
    else {
      t.is(p.take().length, 0);
      p.send({ seq: 1, ack: 11 });
      t.like(p.take()[0], { length: 10, seq: 11 });
    }
  }
});

test('a cork holds a partial segment for 200 ms or until it is pulled', (t) => {
  const p = new TcpPeer();
  p.accept();
  p.connection.setCork(true);
  p.app.toSend = MSS + 100;
  t.deepEqual(
    p.take().map((s) => s.length),
    [MSS],
  );
  p.connection.setCork(false);
  t.like(p.take()[0], { length: 100 });
  p.send({ seq: 1, ack: 1 + MSS + 100 });
  p.connection.setCork(true);
  p.app.toSend += 50;
  t.is(p.take().length, 0);
  t.is(p.after(190).length, 0);
  t.like(p.after(20)[0], { length: 50 });
});

test('every second full segment is acknowledged, a single one after 40 ms', (t) => {
  const p = new TcpPeer();
  p.open();
  let seq = 1;
  for (let i = 0; i < 16; i++, seq += MSS) p.send({ seq, ack: 1, length: MSS });
  t.is(p.take().length, 16, 'the first 16 segments are acknowledged at once');
  const acks = [];
  for (let i = 0; i < 10; i++, seq += MSS) {
    p.send({ seq, ack: 1, length: MSS });
    acks.push(p.take().length);
  }
  t.deepEqual(acks, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
  p.send({ seq, ack: 1, length: MSS });
  t.is(p.after(39).length, 0);
  t.like(p.after(2)[0], { flags: 'A', ack: seq + MSS });
});

test('a small message whose reader took all of it is acknowledged at once, unless the reader has been answering', (t) => {
  const p = new TcpPeer();
  p.open();
  let seq = 1;
  const say = (length: number): number => {
    p.send({ seq, ack: 1 + p.app.sent, length });
    seq += length;
    return p.take().length;
  };
  for (let i = 0; i < 17; i++) t.is(say(MSS - 1 - i), 1, `message ${i}, the first 16 of which are acknowledged anyway`);
  p.app.toSend = 20;
  t.is(say(10), 1, 'the answer carries the ACK');
  t.is(say(10), 0, 'a talk back and forth waits for the next answer');
  t.is(p.after(41).length, 1, 'which does not come');
  t.is(say(10), 1, 'so the talk is over');
});

test('an ACK rides on data that is sent in answer', (t) => {
  const p = new TcpPeer();
  p.open();
  p.app.toSend = 100;
  p.send({ seq: 1, ack: 1, length: 10 });
  t.deepEqual(
    p.take().map((s) => [s.length, s.ack]),
    [[100, 11]],
  );
});

test('out-of-order octets are answered at once with SACK, the latest block first, duplicates before it', (t) => {
  const p = new TcpPeer();
  p.open({}, { sackPermitted: true });
  const send = (seq: number): unknown => {
    p.send({ seq, ack: 1, length: 100 });
    return p.take().map((s) => [s.ack, s.sack]);
  };
  t.deepEqual(send(201), [[1, [[201, 301]]]]);
  t.deepEqual(send(601), [
    [
      1,
      [
        [601, 701],
        [201, 301],
      ],
    ],
  ]);
  t.deepEqual(send(301), [
    [
      1,
      [
        [201, 401],
        [601, 701],
      ],
    ],
  ]);
  t.deepEqual(send(601), [
    [
      1,
      [
        [601, 701],
        [601, 701],
        [201, 401],
      ],
    ],
  ]);
  t.deepEqual(send(1), [
    [
      101,
      [
        [601, 701],
        [201, 401],
      ],
    ],
  ]);
  t.deepEqual(
    send(1),
    [
      [
        101,
        [
          [1, 101],
          [601, 701],
          [201, 401],
        ],
      ],
    ],
    'RFC 2883: an old duplicate',
  );
  t.deepEqual(send(101), [[401, [[601, 701]]]]);
  t.is(p.app.received, 400);
  t.is(p.app.firstWrong, -1);
});

test('three duplicate ACKs without SACK retransmit the first segment, a partial ACK the next', (t) => {
  const p = new TcpPeer();
  p.accept();
  p.app.toSend = 6 * MSS;
  t.is(p.take().length, 6);
  for (let i = 0; i < 2; i++) p.send({ seq: 1, ack: 1 });
  t.is(p.take().length, 0);
  p.send({ seq: 1, ack: 1 });
  t.like(p.take()[0], { seq: 1, length: MSS });
  p.send({ seq: 1, ack: 1 + 2 * MSS });
  t.like(p.take()[0], { seq: 1 + 2 * MSS, length: MSS });
  p.send({ seq: 1, ack: 1 + 6 * MSS });
  t.is(p.connection.unacknowledged, 0);
  t.is(p.host.engine.counters.timeouts, 0);
});

test('SACK retransmits exactly the holes', (t) => {
  const p = new TcpPeer();
  p.accept({}, { sackPermitted: true });
  p.app.toSend = 10 * MSS;
  t.is(p.take().length, 10);
  const at = (n: number): number => 1 + n * MSS;
  p.net.runFor(1);
  p.send({ seq: 1, ack: 1, sack: [[at(1), at(3)]] });
  p.send({
    seq: 1,
    ack: 1,
    sack: [
      [at(4), at(8)],
      [at(1), at(3)],
    ],
  });
  p.send({ seq: 1, ack: 1, sack: [[at(9), at(10)]] });
  const again = [...p.take(), ...p.after(60)].filter((s) => s.length > 0).map((s) => (s.seq - 1) / MSS);
  t.deepEqual(again, [0, 3, 8]);
});

test('the retransmission timeout doubles, and 15 expiries without an ACK end the connection', (t) => {
  const p = new TcpPeer();
  p.accept();
  p.app.toSend = 100;
  p.take();
  const times: number[] = [];
  let last = p.net.nowMs;
  for (const s of p.after(3_600_000)) {
    times.push(Math.round((s.atMs - last) / 100) / 10);
    last = s.atMs;
  }
  t.is(times.length, 15);
  t.deepEqual(times.slice(0, 6), [0.2, 0.4, 0.8, 1.6, 3.2, 6.4]);
  t.is(times.at(-1), 120);
  t.is(p.app.endErrno, TcpEnd.TimedOut);
});

test('a closed window is probed without data, and a lost window update is found by the probe', (t) => {
  const p = new TcpPeer();
  p.accept({}, { window: 1000 });
  p.app.toSend = 3000;
  t.deepEqual(
    p.take().map((s) => s.length),
    [1000],
  );
  p.send({ seq: 1, ack: 1001, window: 0 });
  t.is(p.take().length, 0);
  const probes = p.after(700);
  t.deepEqual(
    probes.map((s) => [s.seq, s.length]),
    [
      [1000, 0],
      [1000, 0],
    ],
  );
  // The update was lost; the answer to the next probe shows it.
  p.send({ seq: 1, ack: 1001, window: 5000 });
  t.deepEqual(
    p.take().map((s) => [s.seq, s.length]),
    [
      [1001, MSS],
      [1001 + MSS, 3000 - 1000 - MSS],
    ],
  );
});

test('a window that stays closed does not end the connection as long as probes are answered', (t) => {
  const p = new TcpPeer();
  p.accept({}, { window: 1000 });
  p.app.toSend = 3000;
  p.take();
  p.send({ seq: 1, ack: 1001, window: 0 });
  for (let i = 0; i < 60; i++) if (p.after(60_000).length > 0) p.send({ seq: 1, ack: 1001, window: 0 });
  t.is(p.app.endErrno, undefined);
});

test('silly windows are neither offered nor used', (t) => {
  const p = new TcpPeer();
  p.accept({}, { window: 4000 });
  p.app.toSend = 20_000;
  p.take();
  p.send({ seq: 1, ack: 1 + 2 * MSS, window: 4000 - 2 * MSS + 10 });
  const sent = p.take().reduce((n, s) => n + s.length, 0);
  t.true(sent === 0 || sent >= MSS);

  const q = new TcpPeer();
  q.open({ receiveBufferMax: 8000 });
  q.app.isReading = false;
  for (let seq = 1; seq < 8001; seq += 1000) q.send({ seq, ack: 1, length: 1000 });
  const closed = q.take().at(-1)!;
  t.true(closed.window < 1000);
  q.app.isReading = true;
  q.app.takesAtMost = 100;
  q.connection.pull();
  t.is(q.take().length, 0, '100 octets are not worth an update');
  q.app.takesAtMost = 1e9;
  q.connection.pull();
  t.is(q.take()[0]!.window, 8000);
});

test('keepalive probes an idle peer and gives up at the right time', (t) => {
  const p = new TcpPeer();
  p.accept({ keepAlive: true, keepIdleMs: 10_000, keepIntervalMs: 2000, keepCount: 3 });
  const start = p.net.nowMs;
  const probes = p.after(15_900);
  t.deepEqual(
    probes.map((s) => [Math.round((s.atMs - start) / 1000), s.seq, s.length]),
    [
      [10, 0, 0],
      [12, 0, 0],
      [14, 0, 0],
    ],
  );
  t.is(p.app.endErrno, undefined);
  t.true(p.after(200).at(-1)!.flags.includes('R'));
  t.is(p.app.endErrno, TcpEnd.TimedOut);
});

test('an answered keepalive starts over', (t) => {
  const p = new TcpPeer();
  p.accept({ keepAlive: true, keepIdleMs: 10_000, keepIntervalMs: 2000, keepCount: 3 });
  for (let i = 0; i < 20; i++) if (p.after(5000).length > 0) p.send({ seq: 1, ack: 1 });
  t.is(p.app.endErrno, undefined);
});

test('the peer’s keepalive is answered', (t) => {
  const p = new TcpPeer();
  p.open();
  p.send({ seq: 0, ack: 1 });
  t.like(p.take()[0], { flags: 'A', seq: 1, ack: 1 });
});

test('the user timeout ends a stalled connection on time, with data and with a closed window', (t) => {
  for (const window of [65535, 0]) {
    const p = new TcpPeer();
    p.accept({ userTimeoutMs: 5000 }, { window });
    p.app.toSend = 100;
    p.take();
    const start = p.net.nowMs;
    p.net.runUntil(() => p.app.endErrno !== undefined, 60_000);
    t.is(p.app.endErrno, TcpEnd.TimedOut);
    const took = p.net.nowMs - start;
    t.true(took >= 4900 && took <= 5600, `took ${took} ms`);
  }
});

test('a smaller path MTU sends again in smaller segments without a timeout', (t) => {
  const p = new TcpPeer(1500);
  p.accept();
  p.app.toSend = 4 * MSS;
  t.is(p.take().length, 4);
  p.host.learnedMtu = 1300;
  p.host.engine.onPathMtu(p.connection, (p.connection.sndNxt + 9) | 0, 1300, p.net.tick);
  t.is(p.take().length, 0, 'a quotation of what is not in flight is ignored');
  p.host.engine.onPathMtu(p.connection, p.connection.sndUna, 1300, p.net.tick);
  const again = p.take();
  t.deepEqual(
    again.map((s) => s.length),
    [1260, 1260, 1260, 1260, 4 * MSS - 4 * 1260],
  );
  t.is(p.host.engine.counters.timeouts, 0);
});

test('segments never exceed the peer’s MSS less our options', (t) => {
  const p = new TcpPeer(9000);
  p.accept({}, { mss: 1000, ts: [5, 0], sackPermitted: true });
  p.app.toSend = 5000;
  t.is(Math.max(...p.take().map((s) => s.length)), 988);
  p.send({ seq: 11, ack: 1, length: 10, ts: [6, 0] });
  p.send({ seq: 1, ack: 4941, ts: [6, 0] });
  p.app.toSend = 9000;
  t.true(Math.max(...p.take().map((s) => s.length)) <= 988 - 12, 'and less the SACK option');
});

test('windows beyond 1 MB carry a transfer over a long fat path at full rate', (t) => {
  const p = new TcpPair(5, { latencyMs: 100, rateMbps: 200, queueBytes: 8e6 });
  const { client, server } = p.open();
  client.toSend = 80_000_000;
  const from = p.net.nowMs;
  t.true(p.net.runUntil(() => server.isPeerFinished, 60_000));
  t.true(p.net.nowMs - from < 6000, `slow start and 3.2 s of line rate took ${p.net.nowMs - from} ms`);
  t.true(server.connection!.info.rcvSpace > 5_000_000);
  t.is(server.firstWrong, -1);
});

test('a reader that stops closes the window; nothing is lost, memory stays bounded, and it resumes', (t) => {
  const p = new TcpPair(6, { latencyMs: 5, rateMbps: 100 });
  const { client, server } = p.open();
  client.toSend = 3_000_000;
  p.net.runUntil(() => server.received > 100_000, 1000);
  server.isReading = false;
  p.net.runFor(60_000);
  t.true(p.b.pool.capacity - p.b.pool.available < 150);
  server.resume();
  t.true(p.net.runUntil(() => server.isPeerFinished, 60_000));
  t.is(server.received, 3_000_000);
  t.is(server.firstWrong, -1);
});

test('a nearly empty page pool slows connections down and breaks none', (t) => {
  const p = new TcpPair(8, { latencyMs: 10, rateMbps: 50, loss: 0.02 }, 1000, 24);
  const runs = [81, 82, 83].map((port) => p.open({ port }));
  for (const r of runs) r.client.toSend = 500_000;
  t.true(p.net.runUntil(() => runs.every((r) => r.server.isPeerFinished), 600_000));
  for (const r of runs) t.is(r.server.firstWrong, -1);
  for (const r of runs) r.server.connection!.close();
  p.net.runFor(1000);
  t.is(p.a.pool.available, p.a.pool.capacity);
  t.is(p.b.pool.available, p.b.pool.capacity);
});

test('a full link holds emission until it has drained', (t) => {
  const p = new TcpPair(9, { latencyMs: 1 });
  const { client, server } = p.open();
  client.finishes = false;
  p.net.runUntil(() => client.isEstablished, 1000);
  p.wire.a.backlog = 2 << 20;
  client.toSend = 500_000;
  client.finishes = true;
  p.net.runFor(50);
  t.is(server.received, 0);
  t.true(p.wire.a.isDrainWanted);
  p.wire.a.backlog = 0;
  t.true(p.net.runUntil(() => server.isPeerFinished, 2000));
});

test('a link that is down for two seconds costs no octet', (t) => {
  const p = new TcpPair(10, { latencyMs: 5, rateMbps: 50 });
  const { client, server } = p.open();
  client.toSend = 2_000_000;
  p.net.runUntil(() => server.received > 300_000, 5000);
  p.wire.a.isUp = false;
  p.net.runFor(2000);
  p.wire.a.isUp = true;
  t.true(p.net.runUntil(() => server.isPeerFinished, 20_000));
  t.is(server.firstWrong, -1);
});
