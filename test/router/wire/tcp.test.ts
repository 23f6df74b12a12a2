import test from 'ava';
import fc from 'fast-check';
import {
  putSack,
  putSynOptions,
  putTcpHeader,
  putTimestamps,
  TCP_HEADER_LEN,
  TcpFlag,
  TcpOptions,
  tcpAck,
  tcpFlags,
  tcpHeaderLength,
  tcpSeq,
  tcpWindow,
} from '../../../router/wire/tcp.ts';

test('a header reads back as it was written, octet for octet as RFC 9293 draws it', (t) => {
  const b = new Uint8Array(64);
  putTcpHeader(b, 3, 0x1234, 0x0050, -2, 0x01020304, 32, TcpFlag.Ack | TcpFlag.Psh, 0xabcd);
  t.is(Buffer.from(b.subarray(3, 23)).toString('hex'), '12340050fffffffe010203048018abcd00000000');
  t.deepEqual([tcpSeq(b, 3), tcpAck(b, 3), tcpFlags(b, 3), tcpWindow(b, 3)], [-2, 0x01020304, 24, 0xabcd]);
  t.is(tcpHeaderLength(b, 3, 40), 32);
});

test('an impossible data offset is refused', (t) => {
  const b = new Uint8Array(64);
  for (const [offset, length, expected] of [
    [4, 60, 0],
    [5, 20, 20],
    [5, 19, 0],
    [6, 20, 0],
    [15, 60, 60],
  ] as const) {
    b[12] = offset << 4;
    t.is(tcpHeaderLength(b, 0, length), expected);
  }
});

test('the options of a SYN read back in every combination', (t) => {
  for (const scale of [-1, 0, 8])
    for (const sack of [false, true])
      for (const stamps of [false, true]) {
        const b = new Uint8Array(64);
        const n = putSynOptions(b, TCP_HEADER_LEN, 1380, scale, sack, stamps, 77, -5);
        t.is(n % 4, 0);
        const o = new TcpOptions();
        o.parse(b, 0, TCP_HEADER_LEN + n);
        t.like(o, { mss: 1380, windowScale: scale, sackPermitted: sack, hasTimestamps: stamps });
        if (stamps) t.like(o, { tsValue: 77, tsEcho: -5 });
      }
});

test('timestamps and SACK blocks read back', (t) => {
  const b = new Uint8Array(64);
  let n = putTimestamps(b, TCP_HEADER_LEN, 0x7fffffff, 1);
  n += putSack(b, TCP_HEADER_LEN + n, Int32Array.from([-10, 5, 100, 200, 300, 400]), 3);
  t.is(n, 40);
  const o = new TcpOptions();
  o.parse(b, 0, TCP_HEADER_LEN + n);
  t.like(o, { hasTimestamps: true, tsValue: 0x7fffffff, tsEcho: 1, sackCount: 3 });
  t.deepEqual([...o.sack.subarray(0, 6)], [-10, 5, 100, 200, 300, 400]);
});

test('a window shift above 14 counts as 14', (t) => {
  const b = new Uint8Array(64);
  b.set([3, 3, 200, 0], TCP_HEADER_LEN);
  const o = new TcpOptions();
  o.parse(b, 0, 24);
  t.is(o.windowScale, 14);
});

test('no octets whatever make the option parser leave the header or loop', (t) => {
  const o = new TcpOptions();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 60, maxLength: 60 }), fc.integer({ min: 5, max: 15 }), (b, words) => {
      const inside = new Uint8Array(words * 4);
      inside.set(b.subarray(0, words * 4));
      o.parse(b, 0, words * 4);
      const first = [o.mss, o.windowScale, o.sackPermitted, o.hasTimestamps, o.sackCount];
      o.parse(inside, 0, words * 4);
      t.deepEqual([o.mss, o.windowScale, o.sackPermitted, o.hasTimestamps, o.sackCount], first);
      t.true(o.sackCount <= 4);
    }),
    { seed: 20, numRuns: 2000 },
  );
});
