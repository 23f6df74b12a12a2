import test from 'ava';
import { RecordFlag } from '../../router/lib/link.ts';
import { cut, type PacketSpec, packet, pattern, transportSum } from './packets.ts';
import { closePair, makePair, type Pair, type Received, turn, until } from './pair.ts';

/** What was received, cut to packets, in order. */
function pieces(received: readonly Received[], spec: Omit<PacketSpec, 'payload'>): Uint8Array[] {
  const out: Uint8Array[] = [];
  let at = 0;
  let id = spec.id ?? 0;
  for (const r of received) {
    if ((r.flags & RecordFlag.Gso) === 0) {
      out.push(r.bytes);
      at += r.bytes.length - (r.hdrLen || r.bytes.length);
      id++;
      continue;
    }
    const v6 = r.bytes[0]! >> 4 === 6;
    const ihl = v6 ? 40 : 20;
    const seq = new DataView(r.bytes.buffer).getInt32(ihl + 4);
    const own = v6 ? 0 : (r.bytes[4]! << 8) | r.bytes[5]!;
    const tcp = r.gsoType !== 3;
    out.push(
      ...cut(r.bytes, r.hdrLen, r.gsoSize, { ...spec, id: own, ...(tcp ? { seq, flags: r.bytes[ihl + 13]! } : {}) }),
    );
  }
  void at;
  void id;
  return out;
}

async function handshake(p: Pair): Promise<void> {
  // Until there is a session WireGuard keeps only the newest packets: send one and wait for it.
  p.a.send(p.linkA, packet({ udp: true, payload: pattern(10) }));
  await until(p, () => p.b.received.length === 1);
  p.b.received.length = 0;
}

test.serial('super-segments of TCP and UDP in both families arrive coalesced and, cut again, identical', async (t) => {
  const p = await makePair();
  try {
    await handshake(p);
    for (const v6 of [false, true]) {
      for (const udp of [false, true]) {
        const spec = { v6, udp, id: 65530, seq: -5000, flags: 0x18, options: udp ? new Uint8Array(0) : pattern(12, 9) };
        const hdr = (v6 ? 40 : 20) + (udp ? 8 : 32);
        const count = 46;
        const size = 1300;
        const big = packet({ ...spec, payload: pattern(count * size + 77, 5) });
        const want = cut(big, hdr, size, spec);
        p.b.received.length = 0;
        t.true(p.a.send(p.linkA, big, size));
        let got: Uint8Array[] = [];
        await until(p, () => (got = pieces(p.b.received, spec)).length >= want.length);
        t.deepEqual(got, want);
        t.true(p.b.received.length <= 4, `${p.b.received.length} records`);
        for (const r of p.b.received) {
          t.not(r.flags & RecordFlag.CsumValid, 0);
        }
      }
    }
    t.deepEqual(p.linkA.txPackets, 1 + 4 * 47);
    t.deepEqual(p.linkB.rxPackets, 1 + 4 * 47);
    t.deepEqual(p.linkB.rxBytes, p.linkA.txBytes);
  } finally {
    await closePair(p);
  }
});

test.serial('single packets go both ways, with the checksum computed by the child', async (t) => {
  const p = await makePair();
  try {
    await handshake(p);
    const there = packet({ v6: true, payload: pattern(333) });
    const wrong = there.slice();
    wrong[40 + 16]! ^= 0xff;
    p.a.send(p.linkA, wrong);
    await until(p, () => p.b.received.length === 1);
    t.deepEqual(p.b.received[0]!.bytes, there);
    t.is(transportSum(p.b.received[0]!.bytes), 0xffff);
    const back = packet({ udp: true, payload: pattern(100) });
    p.b.send(p.linkB, back);
    await until(p, () => p.a.received.length === 1);
    t.deepEqual(p.a.received[0]!.bytes, back);
  } finally {
    await closePair(p);
  }
});

test.serial('a killed child is replaced and packets flow again on the same rings', async (t) => {
  const p = await makePair();
  try {
    await handshake(p);
    for (const [side, other, link, name] of [
      [p.a, p.b, p.linkA, "the sender's"],
      [p.b, p.a, p.linkA, "the receiver's"],
    ] as const) {
      const sender = link === p.linkA ? p.a : p.b;
      const receiver = sender === p.a ? p.b : p.a;
      void other;
      // The periodic look at the child is what remembers a roaming peer's address.
      await side.supervisor.get();
      const [before] = await side.supervisor.get();
      const pid = side.supervisor.pid!;
      const epoch = side.supervisor.epoch;
      let last = performance.now();
      let gap = 0;
      let seen = receiver.packets;
      process.kill(pid, 'SIGKILL');
      const start = performance.now();
      let id = 0;
      let flowing = 0;
      await until(p, () => {
        sender.send(link, packet({ udp: true, id: id++ & 0xffff, payload: pattern(60) }));
        const now = performance.now();
        if (receiver.packets !== seen) {
          if (now - start > 0) gap = Math.max(gap, now - last);
          last = now;
          seen = receiver.packets;
          if (side.supervisor.pid !== pid && side.supervisor.pid !== undefined) flowing++;
        }
        return flowing > 200;
      });
      t.log(`${name} child killed: data gap ${gap.toFixed(1)} ms`);
      t.not(side.supervisor.pid, pid);
      t.is(side.supervisor.epoch, epoch + 1);
      t.true(gap < 1000, `gap of ${gap} ms`);
      const [after] = await side.supervisor.get();
      t.is(after!.listenPort, before!.listenPort);
      t.true(after!.peers[0]!.rxBytes >= before!.peers[0]!.rxBytes);
    }
  } finally {
    await closePair(p);
  }
});

test.serial('garbage in the ring is dropped and counted, and the child lives on', async (t) => {
  const p = await makePair();
  try {
    await handshake(p);
    const pid = p.a.supervisor.pid;
    for (let round = 0; round < 50; round++) {
      const at = p.linkA.reserve(3000);
      t.true(at > 0);
      p.a.world.u8.set(pattern(3000, round), at);
      p.linkA.commit(3000, round & 7, round & 3, (round * 37) & 0xff, (round * 101) & 0xfff, round, round & 31);
      p.linkA.flush();
      // A length that leads out of the ring, written over the record's header.
      if (round % 10 === 9) {
        const junk = p.linkA.reserve(100);
        p.linkA.commit(100, 0, 0, 0, 0, 0, 0);
        p.a.world.i32[(junk - 16) >> 2] = round % 20 === 9 ? 0x7fffffff : 100_000;
        p.linkA.flush();
        await turn();
      }
    }
    const good = packet({ payload: pattern(50) });
    await until(p, () => {
      if (p.a.ring.used === 0) p.a.send(p.linkA, good);
      return p.b.received.some((r) => r.bytes.length === good.length);
    });
    t.is(p.a.supervisor.pid, pid);
    t.true(p.a.ring.counters()['wg_tx_malformed']! > 0);
    t.is(p.a.ring.counters()['wg_child_faults'], 0);
  } finally {
    await closePair(p);
  }
});
