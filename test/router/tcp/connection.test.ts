import test from 'ava';
import { TcpEnd } from '../../../router/tcp/port.ts';
import { TcpState } from '../../../router/tcp/settings.ts';
import { TcpPeer } from '../../kit/tcp-peer.ts';

test('a SYN offers MSS from the link, SACK, timestamps and a window scale', (t) => {
  const p = new TcpPeer(1420);
  const syn = p.connect();
  t.like(syn, { flags: 'S', mss: 1380, sackPermitted: true, scale: 8, window: 65535, tsEcho: 0 });
  t.not(syn.tsValue, undefined);
});

test('options the peer did not offer are not used', (t) => {
  const p = new TcpPeer();
  p.accept();
  t.is(p.connection.info.options, 0);
  p.app.toSend = 10;
  t.like(p.take()[0], { flags: 'PA', length: 10, tsValue: undefined });
});

test('a SYN that nobody answers is sent 7 times and ends after 127 s with ETIMEDOUT', (t) => {
  const p = new TcpPeer();
  const start = p.net.nowMs;
  p.connect();
  const again = p.after(126_900);
  t.deepEqual(
    again.map((s) => Math.round((s.atMs - start) / 1000)),
    [1, 3, 7, 15, 31, 63],
  );
  t.is(p.app.endErrno, undefined);
  p.after(200);
  t.is(p.app.endErrno, TcpEnd.TimedOut);
  t.is(p.host.table.size, 0);
});

test('a reset in answer to a SYN is ECONNREFUSED, one with a wrong ACK is ignored', (t) => {
  const p = new TcpPeer();
  p.connect();
  p.send({ flags: 'RA', seq: 0, ack: 7 });
  t.is(p.app.endErrno, undefined);
  p.send({ flags: 'RA', seq: 0, ack: 1 });
  t.is(p.app.endErrno, TcpEnd.Refused);
});

test('a SYN-ACK that acknowledges something else is reset', (t) => {
  const p = new TcpPeer();
  p.connect();
  p.send({ flags: 'SA', seq: 0, ack: 99 });
  t.like(p.take()[0], { flags: 'R', seq: 99 });
  t.is(p.connection.state, TcpState.SynSent);
});

test('a simultaneous open connects both', (t) => {
  const p = new TcpPeer();
  p.connect();
  p.send({ flags: 'S', seq: 0, mss: 1460 });
  t.like(p.take()[0], { flags: 'SA', seq: 0, ack: 1 });
  p.send({ flags: 'SA', seq: 0, ack: 1, mss: 1460 });
  t.true(p.app.isEstablished);
  t.is(p.connection.state, TcpState.Established);
});

test('a closed port answers a SYN with RST-ACK and an ACK with a bare RST', (t) => {
  const p = new TcpPeer();
  p.send({ flags: 'S', seq: 0 });
  t.like(p.take()[0], { flags: 'RA', ack: 1 });
  p.hostIsn = 0;
  p.send({ flags: 'A', seq: 5, ack: 1234 });
  t.like(p.take()[0], { flags: 'R', seq: 1234 });
  p.send({ flags: 'R', seq: 5 });
  t.is(p.take().length, 0);
});

test('a half-close keeps the other direction open', (t) => {
  const p = new TcpPeer();
  p.open();
  p.connection.shutdownWrite();
  t.like(p.take()[0], { flags: 'FA', seq: 1 });
  p.send({ seq: 1, ack: 2, length: 100 });
  t.is(p.app.received, 100);
  t.is(p.connection.state, TcpState.FinWait2);
  p.send({ flags: 'FA', seq: 101, ack: 2 });
  t.true(p.app.isPeerFinished);
  t.is(p.app.endErrno, TcpEnd.Clean);
  t.is(p.connection.state, TcpState.TimeWait);
});

test('TIME-WAIT answers a repeated FIN, ignores resets, and lasts 60 s', (t) => {
  const p = new TcpPeer();
  p.open();
  p.connection.shutdownWrite();
  p.take();
  p.send({ flags: 'FA', seq: 1, ack: 2 });
  t.like(p.take()[0], { flags: 'A', ack: 2 });
  p.after(30_000);
  p.send({ flags: 'FA', seq: 1, ack: 2 });
  t.like(p.take()[0], { flags: 'A', ack: 2 });
  p.send({ flags: 'R', seq: 2 });
  t.is(p.connection.state, TcpState.TimeWait);
  p.after(59_900);
  t.is(p.host.table.size, 1);
  p.after(200);
  t.is(p.host.table.size, 0);
});

test('TIME-WAIT gives way to a newer SYN of the same flow', (t) => {
  const p = new TcpPeer();
  p.open();
  p.connection.shutdownWrite();
  p.take();
  p.send({ flags: 'FA', seq: 1, ack: 2 });
  p.take();
  p.send({ flags: 'S', seq: 1, mss: 1460 });
  t.like(p.take()[0], { flags: 'A' }, 'an old SYN only gets an ACK');
  p.send({ flags: 'S', seq: 100_000, mss: 1460 });
  t.like(p.take()[0], { flags: 'SA', ack: 100_001 });
});

test('a lost FIN is sent again', (t) => {
  const p = new TcpPeer();
  p.open();
  p.connection.shutdownWrite();
  t.is(p.take()[0]!.flags, 'FA');
  t.like(p.after(400)[0], { flags: 'FA', seq: 1 });
  p.send({ seq: 1, ack: 2 });
  t.is(p.connection.state, TcpState.FinWait2);
});

test('a simultaneous close goes through CLOSING', (t) => {
  const p = new TcpPeer();
  p.open();
  p.connection.shutdownWrite();
  p.take();
  p.send({ flags: 'FA', seq: 1, ack: 1 });
  t.is(p.connection.state, TcpState.Closing);
  p.send({ seq: 2, ack: 2 });
  t.is(p.connection.state, TcpState.TimeWait);
});

test('the passive side goes through CLOSE-WAIT and LAST-ACK to nothing', (t) => {
  const p = new TcpPeer();
  p.open();
  p.send({ flags: 'FA', seq: 1, ack: 1 });
  t.is(p.connection.state, TcpState.CloseWait);
  t.true(p.app.isPeerFinished);
  p.connection.shutdownWrite();
  t.like(p.take().at(-1), { flags: 'FA', seq: 1, ack: 2 });
  t.is(p.connection.state, TcpState.LastAck);
  p.send({ seq: 2, ack: 2 });
  t.is(p.app.endErrno, TcpEnd.Clean);
  t.is(p.host.table.size, 0);
});

test('octets that the owner has not taken survive the end of the connection', (t) => {
  const p = new TcpPeer();
  p.open();
  p.app.isReading = false;
  p.send({ flags: 'FA', seq: 1, ack: 1, length: 500 });
  t.false(p.app.isPeerFinished);
  p.connection.shutdownWrite();
  p.take();
  p.send({ seq: 502, ack: 2 });
  t.is(p.connection.state, TcpState.Closed);
  t.is(p.app.endErrno, undefined);
  p.app.resume();
  t.is(p.app.received, 500);
  t.true(p.app.isPeerFinished);
  t.is(p.app.endErrno, TcpEnd.Clean);
  t.is(p.host.pool.available, p.host.pool.capacity);
});

for (const [name, prepare] of [
  ['ESTABLISHED', () => {}],
  ['FIN-WAIT-1', (p: TcpPeer) => p.connection.shutdownWrite()],
  ['CLOSE-WAIT', (p: TcpPeer) => p.send({ flags: 'FA', seq: 1, ack: 1 })],
  [
    'FIN-WAIT-2',
    (p: TcpPeer) => {
      p.connection.shutdownWrite();
      p.take();
      p.send({ seq: 1, ack: 2 });
    },
  ],
  [
    'CLOSING',
    (p: TcpPeer) => {
      p.connection.shutdownWrite();
      p.take();
      p.send({ flags: 'FA', seq: 1, ack: 1 });
    },
  ],
  [
    'LAST-ACK',
    (p: TcpPeer) => {
      p.send({ flags: 'FA', seq: 1, ack: 1 });
      p.connection.shutdownWrite();
    },
  ],
] as [string, (p: TcpPeer) => void][]) {
  test(`a reset with the exact number ends ${name}; one elsewhere in the window is challenged`, (t) => {
    const p = new TcpPeer();
    p.open();
    prepare(p);
    p.take();
    const next = (p.connection.rcvNxt - 0x7fffff00) | 0;
    if (next === 1) {
      p.send({ flags: 'R', seq: next + 10 });
      t.like(p.take()[0], { flags: 'A', ack: next });
      t.is(p.app.endErrno, undefined);
    }
    p.send({ flags: 'R', seq: next - 5 });
    t.is(p.app.endErrno, undefined, 'outside of the window: nothing');
    p.send({ flags: 'R', seq: next });
    t.is(p.app.endErrno, TcpEnd.Reset);
    t.is(p.host.table.size, 0);
    t.is(p.host.pool.available, p.host.pool.capacity);
  });
}

test('a reset in SYN-RECEIVED silently forgets the half-open connection', (t) => {
  const p = new TcpPeer();
  p.listen();
  p.send({ flags: 'S', seq: 0 });
  p.take();
  p.send({ flags: 'R', seq: 1 });
  t.is(p.host.table.size, 0);
  t.is(p.take().length, 0);
});

test('a SYN on an established connection is challenged, at most twice a second', (t) => {
  const p = new TcpPeer();
  p.open();
  p.send({ flags: 'S', seq: 1 });
  p.send({ flags: 'S', seq: 2 });
  t.is(p.take().length, 1);
  p.after(600);
  p.send({ flags: 'S', seq: 3 });
  t.is(p.take().length, 1);
  t.is(p.connection.state, TcpState.Established);
});

test('an ACK of octets never sent is challenged and its data dropped', (t) => {
  const p = new TcpPeer();
  p.open();
  p.send({ seq: 1, ack: 5000, length: 10 });
  t.is(p.app.received, 0);
  t.like(p.take()[0], { flags: 'A', seq: 1, ack: 1 });
});

test('PAWS: an older timestamp is acknowledged and dropped, unless it is a reset', (t) => {
  const p = new TcpPeer();
  p.open({}, { ts: [1000, 0] });
  p.send({ seq: 1, ack: 1, length: 10, ts: [1010, 0] });
  t.is(p.app.received, 10);
  p.take();
  p.send({ seq: 11, ack: 1, length: 10, ts: [999, 0] });
  t.is(p.app.received, 10);
  t.like(p.take()[0], { flags: 'A', ack: 11, tsEcho: 1010 });
  t.is(p.host.engine.counters.pawsDrops, 1);
  p.send({ flags: 'R', seq: 11, ts: [5, 0] });
  t.is(p.app.endErrno, TcpEnd.Reset);
});

test('TS.Recent moves only with segments at the left edge', (t) => {
  const p = new TcpPeer();
  p.open({}, { ts: [1000, 0], sackPermitted: true });
  p.send({ seq: 501, ack: 1, length: 100, ts: [1500, 0] });
  t.is(p.take()[0]!.tsEcho, 1000);
});

test('close with unread octets resets, and so do octets that arrive for a closed owner', (t) => {
  const p = new TcpPeer();
  p.open();
  p.app.isReading = false;
  p.send({ seq: 1, ack: 1, length: 10 });
  p.take();
  p.connection.close();
  t.like(p.take()[0], { flags: 'RA' });

  const q = new TcpPeer();
  q.open();
  q.connection.close();
  t.is(q.take()[0]!.flags, 'FA');
  q.send({ seq: 1, ack: 2, length: 10 });
  t.true(q.take()[0]!.flags.includes('R'));
  t.is(q.host.table.size, 0);
});

test('an orphan waits 60 s for the peer to finish', (t) => {
  const p = new TcpPeer();
  p.open();
  p.connection.close();
  p.take();
  p.send({ seq: 1, ack: 2 });
  t.is(p.connection.state, TcpState.FinWait2);
  p.after(60_100);
  t.is(p.host.table.size, 0);
});

test('abort sends a reset and tells the owner nothing', (t) => {
  const p = new TcpPeer();
  p.open();
  p.connection.abort();
  t.like(p.take()[0], { flags: 'RA', seq: 1, ack: 1 });
  t.is(p.app.endErrno, undefined);
  t.is(p.host.table.size, 0);
});

test('urgent octets stay in the stream', (t) => {
  const p = new TcpPeer();
  p.open();
  p.send({ flags: 'PAU', seq: 1, ack: 1, length: 10 });
  p.send({ seq: 11, ack: 1, length: 10 });
  t.is(p.app.received, 20);
  t.is(p.app.firstWrong, -1);
});

test('a hard ICMP error ends an opening connection, is remembered later, and must quote octets in flight', (t) => {
  const p = new TcpPeer();
  p.connect();
  const c = p.connection;
  p.host.engine.onIcmpError(c, (c.sndNxt + 5) | 0, TcpEnd.HostUnreachable, true, p.net.tick);
  t.is(p.app.endErrno, undefined);
  p.host.engine.onIcmpError(c, c.sndUna, TcpEnd.HostUnreachable, true, p.net.tick);
  t.is(p.app.endErrno, TcpEnd.HostUnreachable);

  const q = new TcpPeer();
  q.accept();
  q.app.toSend = 10;
  q.take();
  q.host.engine.onIcmpError(q.connection, q.connection.sndUna, TcpEnd.NetUnreachable, true, q.net.tick);
  t.is(q.app.endErrno, undefined);
  q.after(3_600_000);
  t.is(q.app.endErrno, TcpEnd.NetUnreachable, 'reported when the connection times out');
});

test('all of it works where sequence numbers and clocks wrap', (t) => {
  for (const startMs of [2 ** 31 - 500, 2 ** 32 - 500, 71 * 60_000 - 500]) {
    const p = new TcpPeer(1500, startMs);
    p.open({}, { sackPermitted: true, ts: [0x7ffffff0, 0] });
    p.app.toSend = 3000;
    t.is(p.take().length, 3);
    t.true(p.after(2000).length >= 1, 'a retransmission');
    p.send({ seq: 1, ack: 3001, ts: [-0x7ffffff0, 0] });
    t.is(p.connection.unacknowledged, 0);
  }
});
