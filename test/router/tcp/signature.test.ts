/** TCP MD5 signatures (RFC 2385): digests of Linux, whole connections that sign, and what must not get through. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { TcpState } from '../../../router/tcp/settings.ts';
import { SegmentKey, Signature } from '../../../router/tcp/signature.ts';
import { signatureAt, tcpFlags } from '../../../router/wire/tcp.ts';
import { onesSum, pseudoSum } from '../../kit/sim.ts';
import { type SimApp, SimFlow, TcpPair } from '../../kit/tcp-host.ts';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden/tcp/linux-md5.hex');
const md5 = (octets: Uint8Array): Uint8Array => createHash('md5').update(octets).digest();
const keyOf = (text: string): SegmentKey => new SegmentKey(new TextEncoder().encode(text), md5);

interface Cut {
  readonly flow: SimFlow;
  readonly segment: Uint8Array;
  readonly headerLength: number;
}

/** The segment of an IP packet, seen by its receiver. */
function cut(packet: Uint8Array): Cut {
  const isV4 = packet[0]! >> 4 === 4;
  const ip = isV4 ? 20 : 40;
  const v = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const flow = new SimFlow();
  flow.isV4 = isV4;
  if (isV4) {
    flow.l2 = flow.r2 = 0xffff;
    flow.r3 = v.getInt32(12);
    flow.l3 = v.getInt32(16);
  } else {
    [flow.r0, flow.r1, flow.r2, flow.r3] = [8, 12, 16, 20].map((o) => v.getInt32(o)) as [
      number,
      number,
      number,
      number,
    ];
    [flow.l0, flow.l1, flow.l2, flow.l3] = [24, 28, 32, 36].map((o) => v.getInt32(o)) as [
      number,
      number,
      number,
      number,
    ];
  }
  return { flow, segment: packet.slice(ip), headerLength: (packet[ip + 12]! >> 4) * 4 };
}

test('segments that Linux signed are good with the key, wrong with another key and when any part of them changes', (t) => {
  const key = keyOf('correct horse');
  const packets = readFileSync(GOLDEN, 'utf8').trim().split('\n');
  t.is(packets.length, 20);
  for (const hex of packets) {
    const { flow, segment, headerLength } = cut(Uint8Array.from(Buffer.from(hex, 'hex')));
    const check = (k: SegmentKey, s = segment): number => k.check(flow, s, 0, headerLength, s.length);
    t.is(check(key), Signature.Good);
    t.is(check(keyOf('correct horsf')), Signature.Wrong);
    for (const at of [0, 5, 9, 13, 15, signatureAt(segment, 0, headerLength), segment.length - 1]) {
      if (at >= 20 && at !== signatureAt(segment, 0, headerLength) && at < headerLength) continue; // an option
      const changed = segment.slice();
      changed[at]! ^= 1;
      t.is(check(key, changed), Signature.Wrong, `octet ${at}`);
    }
    // The checksum is no part of the digest.
    const summed = segment.slice();
    summed[16]! ^= 0xff;
    t.is(check(key, summed), Signature.Good);
    flow.r3 ^= 1;
    t.is(check(key), Signature.Wrong);
  }
});

test('a segment signed here is what Linux would have sent', (t) => {
  const key = keyOf('correct horse');
  for (const hex of readFileSync(GOLDEN, 'utf8').trim().split('\n')) {
    const { flow, segment, headerLength } = cut(Uint8Array.from(Buffer.from(hex, 'hex')));
    const sender = new SimFlow();
    Object.assign(sender, flow, {
      l0: flow.r0,
      l1: flow.r1,
      l2: flow.r2,
      l3: flow.r3,
      r0: flow.l0,
      r1: flow.l1,
      r2: flow.l2,
      r3: flow.l3,
    });
    const blank = segment.slice();
    blank.fill(0, signatureAt(segment, 0, headerLength), signatureAt(segment, 0, headerLength) + 16);
    key.sign(sender, blank, 0, headerLength, blank.length);
    t.deepEqual(blank, segment);
  }
});

test('options without a sound signature have none', (t) => {
  const header = (...options: number[]): Uint8Array => Uint8Array.from([...new Array<number>(20).fill(0), ...options]);
  const at = (b: Uint8Array): number => signatureAt(b, 0, b.length);
  t.is(at(header()), 0);
  t.is(at(header(1, 1, 19, 18)), 0); // runs out
  t.is(at(header(1, 1, 19, 10, 0, 0, 0, 0, 0, 0, 0, 0)), 0);
  t.is(at(header(0, 1, 19, 18, ...new Array<number>(16).fill(0))), 0); // behind the end of options
  t.is(at(header(2, 0, 19, 18)), 0);
  t.is(at(header(2, 4, 5, 180, 19, 18, ...new Array<number>(16).fill(7))), 26);
});

interface Apps {
  readonly client: SimApp;
  readonly server: SimApp;
}

/** A client with a key or none, and a server whose listener asks for one or none. */
function open(pair: TcpPair, client?: SegmentKey, server?: SegmentKey, family: 4 | 6 = 4): Apps {
  const apps = pair.open({ client: { key: client }, family });
  pair.b.listeners.get(80)!.termsFor = () => (server === undefined ? undefined : { key: server });
  apps.client.finishes = false;
  apps.server.finishes = false;
  return apps;
}

/** Check every packet of a wire by an implementation that shares nothing with ours; returns how many there were. */
function watch(t: ExecutionContext, pair: TcpPair, secret: string): { seen: number; largest: number } {
  const tally = { seen: 0, largest: 0 };
  pair.wire.filter = (packet) => {
    const isV4 = packet[0]! >> 4 === 4;
    const ip = isV4 ? 20 : 40;
    const header = (packet[ip + 12]! >> 4) * 4;
    const options = Buffer.from(packet.subarray(ip + 20, ip + header));
    const found = options.indexOf(Buffer.from([19, 18]));
    const length = packet.length - ip;
    const pseudo = isV4
      ? Buffer.concat([packet.subarray(12, 20), Buffer.from([0, 6, length >> 8, length & 255])])
      : Buffer.concat([packet.subarray(8, 40), Buffer.from([0, 0, length >> 8, length & 255, 0, 0, 0, 6])]);
    const fixed = Buffer.from(packet.subarray(ip, ip + 20));
    fixed.fill(0, 16, 18);
    const digest = createHash('md5')
      .update(pseudo)
      .update(fixed)
      .update(packet.subarray(ip + header))
      .update(secret);
    t.deepEqual(options.subarray(found + 2, found + 18), digest.digest());
    tally.seen++;
    tally.largest = Math.max(tally.largest, packet.length);
    return 'pass';
  };
  return tally;
}

for (const family of [4, 6] as const) {
  test(`both sides sign every IPv${family} segment, in sizes that fit, through loss and until the end`, (t) => {
    const pair = new TcpPair(11, { latencyMs: 5, loss: 0.05, reorder: 0.02, reorderMs: 3, mtu: 1420, coalesceUs: 200 });
    const tally = watch(t, pair, 'secret');
    const { client, server } = open(pair, keyOf('secret'), keyOf('secret'), family);
    client.toSend = 300_000;
    server.toSend = 100_000;
    t.true(pair.net.runUntil(() => server.received === 300_000 && client.received === 100_000, 120_000));
    client.connection!.shutdownWrite();
    server.connection!.shutdownWrite();
    t.true(pair.net.runUntil(() => client.endErrno === 0 && server.endErrno === 0, 120_000));
    t.true(tally.seen > 300);
    t.true(tally.largest <= 1420);
    t.is(pair.a.engine.counters.signatureWrong + pair.b.engine.counters.signatureWrong, 0);
    t.is(pair.a.engine.counters.signatureMissing + pair.b.engine.counters.signatureMissing, 0);
  });
}

test('a connection whose peer has another key, or none, never comes to life', (t) => {
  for (const [client, server] of [
    [keyOf('one'), keyOf('two')],
    [keyOf('one'), undefined],
    [undefined, keyOf('two')],
  ] as const) {
    const pair = new TcpPair(12, { latencyMs: 5 });
    const apps = open(pair, client, server);
    t.false(pair.net.runUntil(() => apps.client.isEstablished || apps.server.isEstablished, 10_000));
    const { signatureMissing, signatureWrong } = pair.b.engine.counters;
    if (server !== undefined) t.true(signatureMissing + signatureWrong > 0);
    else t.true(pair.a.engine.counters.signatureMissing > 0);
  }
});

test('segments of others do not touch a signed connection, neither its data nor its life', (t) => {
  const pair = new TcpPair(13, { latencyMs: 1 });
  const { client, server } = open(pair, keyOf('secret'), keyOf('secret'));
  pair.net.runUntil(() => server.isEstablished, 1000);
  const c = client.connection!;
  const forge = (flags: number, isSigned: boolean): void => {
    const length = isSigned ? 40 : 20;
    const p = new Uint8Array(20 + length);
    const v = new DataView(p.buffer);
    p.set([0x45, 0, 0, p.length, 0, 0, 0x40, 0, 64, 6]);
    v.setInt32(12, c.r3);
    v.setInt32(16, c.l3);
    v.setUint16(10, onesSum(p, 0, 20) ^ 0xffff);
    v.setUint16(20, c.remotePort);
    v.setUint16(22, c.localPort);
    v.setInt32(24, c.rcvNxt);
    v.setInt32(28, c.sndNxt);
    p[32] = (length / 4) << 4;
    p[33] = flags;
    v.setUint16(34, 1000);
    if (isSigned) p.set([1, 1, 19, 18], 40);
    v.setUint16(36, onesSum(p, 20, p.length, pseudoSum(p)) ^ 0xffff);
    pair.wire.b.inject(p);
    pair.net.runFor(5);
  };
  for (const flags of [4, 2, 1, 0x14, 0x18]) for (const isSigned of [false, true]) forge(flags, isSigned);
  t.is(pair.a.badChecksums, 0);
  t.is(pair.a.engine.counters.signatureMissing, 5);
  t.is(pair.a.engine.counters.signatureWrong, 5);
  t.is(c.state, TcpState.Established);
  client.toSend = 5000;
  t.true(pair.net.runUntil(() => server.received === 5000, 10_000));
});

test('a peer that still speaks of a connection we have forgotten gets a signed reset', (t) => {
  const pair = new TcpPair(14, { latencyMs: 1 });
  const { client, server } = open(pair, keyOf('secret'), keyOf('secret'));
  pair.net.runUntil(() => server.isEstablished, 1000);
  const resets: number[] = [];
  watch(t, pair, 'secret');
  const check = pair.wire.filter!;
  // B restarts without a word.
  pair.wire.filter = () => 'drop';
  server.connection!.abort();
  pair.net.runFor(10);
  pair.wire.filter = (packet, from) => {
    if ((tcpFlags(packet, 20) & 4) !== 0) resets.push(packet.length);
    return check(packet, from);
  };
  client.toSend = 10;
  t.true(pair.net.runUntil(() => client.endErrno === 104, 10_000));
  t.deepEqual(resets, [60]);
});
