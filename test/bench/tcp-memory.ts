/**
 * TCP stack to stack in one process and one thread, no I/O: what both ends together cost per octet, and whether the heap
 * grows with packets. Checksums and the cutting of super-segments are the WireGuard child's work and not done here, except
 * in the "cut" row, where a copy per packet stands in for it.
 * Run: node build/test/bench/tcp-memory.js [--json]
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { get16, get32, put16, put32 } from '../../router/lib/bytes.ts';
import { MutableTick } from '../../router/lib/clock.ts';
import type { PacketLink } from '../../router/lib/link.ts';
import { Random } from '../../router/lib/rand.ts';
import { PagePool, World } from '../../router/lib/world.ts';
import { FlowTable } from '../../router/stack/demux.ts';
import type { TcpConnection } from '../../router/tcp/connection.ts';
import { TcpEngine } from '../../router/tcp/engine.ts';
import type { TcpListener } from '../../router/tcp/listener.ts';
import type { FlowKey, IpPort, TcpOwner } from '../../router/tcp/port.ts';

const IP = 20;
const RING = 4 * 1024 * 1024;
const RECORD = 16;

/** One direction: records in a ring of the shared world, taken in place. */
class MemoryLink implements PacketLink {
  readonly index: number;
  readonly name: string;
  readonly vrf = 0;
  readonly highWater = 256 * 1024;
  mtu: number;
  isUp = true;
  /** Cut super-segments into packets on their way. */
  readonly isCutting: boolean;
  packets = 0;
  isDrainWanted = false;
  readonly #b: Uint8Array;
  readonly #base: number;
  #head = 0;
  #tail = 0;

  constructor(world: World, index: number, mtu: number, isCutting: boolean) {
    this.index = index;
    this.name = `memory${index}`;
    this.mtu = mtu;
    this.isCutting = isCutting;
    this.#b = world.u8;
    this.#base = world.alloc(RING + 65536 + RECORD);
  }

  get backlog(): number {
    return this.#tail - this.#head;
  }

  reserve(length: number): number {
    // Records do not wrap: `drain` empties the whole ring and starts it anew.
    return this.#tail + length + RECORD > RING ? -1 : this.#base + this.#tail + RECORD;
  }

  commit(length: number, _flags: number, _gsoType: number, hdrLen: number, gsoSize: number): void {
    const at = this.#base + this.#tail;
    put32(this.#b, at, length);
    put16(this.#b, at + 4, gsoSize);
    put16(this.#b, at + 6, hdrLen);
    this.#tail += (RECORD + length + 7) & ~7;
    this.packets += gsoSize > 0 ? Math.ceil((length - hdrLen) / gsoSize) : 1;
  }

  flush(): void {}

  wantDrain(): void {
    this.isDrainWanted = true;
  }

  /** Hand everything over, then start the ring anew. */
  drain(to: End, tick: MutableTick): boolean {
    if (this.#tail === 0) return false;
    const b = this.#b;
    for (; this.#head < this.#tail; ) {
      const at = this.#base + this.#head;
      const length = get32(b, at);
      const gsoSize = get16(b, at + 4);
      if (gsoSize > 0 && this.isCutting) this.#cut(to, at + RECORD, length, get16(b, at + 6), gsoSize, tick);
      else to.receive(at + RECORD + IP, length - IP, gsoSize, tick);
      this.#head += (RECORD + length + 7) & ~7;
    }
    this.#head = 0;
    this.#tail = 0;
    return true;
  }

  #cut(to: End, at: number, length: number, hdrLen: number, gsoSize: number, tick: MutableTick): void {
    const b = this.#b;
    const scratch = this.#base + RING;
    const seq = get32(b, at + IP + 4);
    for (let from = hdrLen; from < length; from += gsoSize) {
      const n = Math.min(gsoSize, length - from);
      b.copyWithin(scratch, at, at + hdrLen);
      b.copyWithin(scratch + hdrLen, at + from, at + from + n);
      put32(b, scratch + IP + 4, (seq + from - hdrLen) | 0);
      to.receive(scratch + IP, hdrLen - IP + n, 0, tick);
    }
  }
}

/** A flow of 10.0.0.0/8 addresses that can be filled in. */
class Flow implements FlowKey {
  readonly vrf = 0;
  readonly scope = 0;
  readonly isV4 = true;
  readonly l0 = 0;
  readonly l1 = 0;
  readonly l2 = 0xffff;
  l3 = 0;
  localPort = 0;
  readonly r0 = 0;
  readonly r1 = 0;
  readonly r2 = 0xffff;
  r3 = 0;
  remotePort = 0;
  device = 0;

  set(local: number, localPort: number, remote: number, remotePort: number): this {
    this.l3 = local;
    this.localPort = localPort;
    this.r3 = remote;
    this.remotePort = remotePort;
    return this;
  }
}

/** One stack with one link. Segments are found by their ports; addresses are implied. */
class End implements IpPort, TcpOwner<TcpConnection> {
  readonly engine: TcpEngine;
  readonly routeGeneration = 1;
  received = 0;
  listener: TcpListener | undefined;
  readonly #out: MemoryLink;
  readonly #b: Uint8Array;
  readonly #local: number;
  readonly #table = new FlowTable<TcpConnection>(new Random(1));
  readonly #flow = new Flow();

  constructor(world: World, pool: PagePool, out: MemoryLink, local: number, tick: MutableTick) {
    this.#out = out;
    this.#b = world.u8;
    this.#local = local;
    const random = new Random(local);
    const secret = Uint8Array.from({ length: 16 }, () => random.below(256));
    this.engine = new TcpEngine({ world, pool, ip: this, table: this.#table, random, secret, tick });
  }

  receive(at: number, length: number, gsoSize: number, tick: MutableTick): void {
    const flow = this.#flow.set(this.#local, get16(this.#b, at + 2), 3 - this.#local, get16(this.#b, at));
    const c = this.#table.find(flow);
    if (c !== undefined) this.engine.onSegment(c, at, length, gsoSize, 0, tick);
    else if (this.listener !== undefined)
      this.engine.onListenerSegment(this.listener, flow, at, length, gsoSize, 0, tick);
  }

  resolve(): PacketLink {
    return this.#out;
  }
  pathMtu(_flow: FlowKey, link: PacketLink): number {
    return link.mtu;
  }
  begin(_flow: FlowKey, link: PacketLink, segmentLength: number): number {
    const at = link.reserve(IP + segmentLength);
    return at < 0 ? -1 : at + IP;
  }
  send(_f: FlowKey, link: PacketLink, _at: number, headerLength: number, payloadLength: number, gsoSize: number): void {
    const headers = IP + headerLength;
    link.commit(headers + payloadLength, 0, 0, gsoSize > 0 ? headers : 0, gsoSize, IP, 16);
  }

  established(): void {}
  deliver(_c: TcpConnection, _at: number, length: number): number {
    this.received += length;
    return length;
  }
  peerFinished(): void {}
  sendSpace(): void {}
  closed(): void {}
}

interface Row {
  readonly name: string;
  readonly nsPerOctet: number;
  readonly gbitPerSecond: number;
  readonly nsPerPacket: number;
  readonly heapPerMillionPackets: number;
}

function collect(): number {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  gc();
  return process.memoryUsage().heapUsed;
}

function measure(name: string, mtu: number, isCutting: boolean, connections: number, octets: number): Row {
  const world = new World(256 * 1024 * 1024);
  const pool = new PagePool(world, 16384, 8192);
  const tick = new MutableTick();
  let us = 1e6;
  tick.set(us);
  const ab = new MemoryLink(world, 1, mtu, isCutting);
  const ba = new MemoryLink(world, 2, mtu, isCutting);
  const a = new End(world, pool, ab, 1, tick);
  const b = new End(world, pool, ba, 2, tick);
  const listener = b.engine.listen(new Flow().set(2, 80, 0, 0), connections, { acceptable: () => {} });
  b.listener = listener;
  const senders: TcpConnection[] = [];
  for (let i = 0; i < connections; i++)
    senders.push(a.engine.connect(new Flow().set(1, 1000 + i, 2, 80), a, { noDelay: true }, tick)!);
  const turn = (isSending: boolean): void => {
    us += 20;
    tick.set(us);
    if (isSending)
      for (let i = 0; i < senders.length; i++) {
        const c = senders[i]!;
        for (let n = c.sendSpan(65536); n > 0; n = c.sendSpan(65536)) c.commitSend(n);
      }
    a.engine.tick(tick);
    a.engine.onVectorEnd(tick);
    ab.drain(b, tick);
    if (ab.isDrainWanted) {
      ab.isDrainWanted = false;
      a.engine.onLinkDrained(ab);
    }
    b.engine.tick(tick);
    b.engine.onVectorEnd(tick);
    ba.drain(a, tick);
  };
  while (listener.waiting < connections) turn(false);
  while (listener.accept(b) !== undefined);
  const transfer = (count: number): void => {
    for (const until = b.received + count; b.received < until; ) turn(true);
  };
  transfer(octets / 2);
  const heapBefore = collect();
  const packetsBefore = ab.packets + ba.packets;
  const receivedBefore = b.received;
  const cpuBefore = process.cpuUsage();
  transfer(octets);
  const cpu = process.cpuUsage(cpuBefore);
  const packets = ab.packets + ba.packets - packetsBefore;
  const ns = (cpu.user + cpu.system) * 1000;
  const done = b.received - receivedBefore;
  const heap = collect() - heapBefore;
  return {
    name,
    nsPerOctet: ns / done,
    gbitPerSecond: (done * 8) / ns,
    nsPerPacket: ns / packets,
    heapPerMillionPackets: Math.round((heap / packets) * 1e6),
  };
}

const GIB = 1024 ** 3;
const rows = [
  measure('MTU 1420, super-segments end to end', 1420, false, 1, 4 * GIB),
  measure('MTU 1420, cut into packets, none joined', 1420, true, 1, 2 * GIB),
  measure('MTU 1420, cut, 64 connections', 1420, true, 64, 2 * GIB),
  measure('MTU 65520', 65520, false, 1, 4 * GIB),
];
if (process.argv.includes('--json')) console.log(JSON.stringify({ tcpMemory: rows }));
else {
  console.log('TCP, both ends in one thread            ns/octet  Gbit/s  ns/packet  heap octets per million packets');
  for (const r of rows)
    console.log(
      `${r.name.padEnd(40)}${r.nsPerOctet.toFixed(3).padStart(8)}${r.gbitPerSecond.toFixed(1).padStart(8)}` +
        `${r.nsPerPacket.toFixed(0).padStart(11)}${String(r.heapPerMillionPackets).padStart(12)}`,
    );
}
