import test from 'ava';
import { MutableTick } from '../../../router/lib/clock.ts';
import type { PacketLink } from '../../../router/lib/link.ts';
import { Random } from '../../../router/lib/rand.ts';
import { PagePool, World } from '../../../router/lib/world.ts';
import { FlowTable } from '../../../router/stack/demux.ts';
import type { TcpConnection } from '../../../router/tcp/connection.ts';
import { TcpEngine } from '../../../router/tcp/engine.ts';
import type { FlowKey, IpPort, TcpOwner } from '../../../router/tcp/port.ts';
import { octetAt, SimFlow } from '../../kit/tcp-host.ts';

const GIB = 2 ** 30;
const SLOTS = 256;
const SLOT = 65536 + 256;
/** One octet of the stream in so many is written and checked. */
const MARK = 1021;

/** One end of a wire without IP: segments lie in a ring of slots until the other end takes them. */
class End implements IpPort, TcpOwner<TcpConnection> {
  readonly routeGeneration = 1;
  readonly engine: TcpEngine;
  readonly table = new FlowTable<TcpConnection>(new Random(1));
  readonly pool: PagePool;
  readonly #world: World;
  readonly #slots: number;
  readonly #queue: { at: number; length: number; gsoSize: number }[] = [];
  readonly #link = { mtu: 65535, backlog: 0, highWater: 1 << 30 } as PacketLink;
  #next = 0;
  toSend = 0;
  sent = 0;
  received = 0;
  firstWrong = -1;

  constructor(world: World, tick: MutableTick, seed: number) {
    this.#world = world;
    this.#slots = world.alloc(SLOTS * SLOT);
    this.pool = new PagePool(world, 16384, 512);
    const secret = new Uint8Array(16).fill(seed);
    const { pool, table } = this;
    this.engine = new TcpEngine({ world, pool, ip: this, table, random: new Random(seed), secret, tick });
  }

  /** Carry what is queued here to the other end. @returns segments */
  carry(other: End, flow: FlowKey, accept: () => void, tick: MutableTick): number {
    const all = this.#queue.splice(0);
    for (const { at, length, gsoSize } of all) {
      const c = other.table.find(flow);
      if (c !== undefined) other.engine.onSegment(c, at, length, gsoSize, 0, tick);
      else accept();
    }
    return all.length;
  }

  get first(): { at: number; length: number } {
    return this.#queue[0]!;
  }

  resolve(): PacketLink {
    return this.#link;
  }

  pathMtu(): number {
    return 9000;
  }

  begin(): number {
    if (this.#queue.length >= SLOTS) return -1;
    return this.#slots + (this.#next++ % SLOTS) * SLOT;
  }

  send(_f: FlowKey, _l: PacketLink, at: number, header: number, payload: number, gsoSize: number): void {
    this.#queue.push({ at, length: header + payload, gsoSize });
  }

  /** Supply what there is room for; only the marks are written. */
  supply(c: TcpConnection): void {
    while (this.sent < this.toSend) {
      const n = c.sendSpan(Math.min(65536, this.toSend - this.sent));
      if (n === 0) return;
      for (let p = Math.ceil(this.sent / MARK) * MARK; p < this.sent + n; p += MARK)
        this.#world.u8[c.spanAt + p - this.sent] = octetAt(p / MARK, 5);
      c.commitSend(n);
      this.sent += n;
    }
  }

  established(): void {}

  deliver(_c: TcpConnection, at: number, length: number): number {
    const { u8 } = this.#world;
    const from = this.received;
    for (let p = Math.ceil(from / MARK) * MARK; p < from + length && this.firstWrong < 0; p += MARK)
      if (u8[at + p - from] !== octetAt(p / MARK, 5)) this.firstWrong = p;
    this.received += length;
    return length;
  }

  peerFinished(): void {}
  sendSpace(): void {}
  closed(): void {}
}

test('one connection carries more than 8 GiB, through every wrap of positions and of both clocks', (t) => {
  t.timeout(120_000);
  const total = 9 * GIB + 12_345;
  const tick = new MutableTick();
  // The millisecond clock wraps after a second; the microsecond clock with it.
  let us = (2 ** 32 - 1000) * 1000;
  tick.set(us);
  const world = new World(80 << 20);
  const a = new End(world, tick, 1);
  const b = new End(world, tick, 2);
  const listener = b.engine.listen(SimFlow.between(2, 80, 0, 0, 4), 4, { acceptable: () => {} });
  const toB = SimFlow.between(2, 80, 1, 4000, 4);
  const toA = SimFlow.between(1, 4000, 2, 80, 4);
  a.toSend = total;
  b.toSend = GIB;
  const ca = a.engine.connect(toA, a, {}, tick)!;
  let cb: TcpConnection | undefined;
  for (let idle = 0; idle < 100 && (a.received < b.toSend || b.received < total); ) {
    us += 250;
    tick.set(us);
    const first = a.first;
    let moved = a.carry(
      b,
      toB,
      () => b.engine.onListenerSegment(listener, toB, first.at, first.length, 0, 0, tick),
      tick,
    );
    moved += b.carry(a, toA, () => {}, tick);
    if (cb === undefined) {
      cb = listener.accept(b);
      cb?.pull();
    }
    a.engine.tick(tick);
    b.engine.tick(tick);
    a.supply(ca);
    if (cb !== undefined) b.supply(cb);
    a.engine.onVectorEnd(tick);
    b.engine.onVectorEnd(tick);
    idle = moved === 0 ? idle + 1 : 0;
  }
  t.is(b.received, total);
  t.is(a.received, GIB);
  t.is(a.firstWrong, -1);
  t.is(b.firstWrong, -1);
  for (let i = 0; i < 10; i++) {
    us += 50_000;
    tick.set(us);
    a.carry(b, toB, () => {}, tick);
    b.carry(a, toA, () => {}, tick);
    for (const e of [a.engine, b.engine]) {
      e.tick(tick);
      e.onVectorEnd(tick);
    }
  }
  t.is(ca.info.bytesAcked, total + 1, 'the SYN counts, as in Linux');
  t.is(ca.info.bytesSent, total, 'nothing was sent twice');
  t.is(cb!.info.bytesReceived, total);
  t.is(ca.unacknowledged, 0);
  t.is(cb!.unread, 0);
  t.is(a.pool.available, a.pool.capacity);
  t.is(b.pool.available, b.pool.capacity);
});
