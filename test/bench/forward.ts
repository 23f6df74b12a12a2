/**
 * The stack's transit path in memory: full tables, packets in a ring that does not fit the cache, several outgoing links
 * that take every record. Checks, TTL, look-up, ECMP hash, counters and the copy are included; no I/O. CPU time.
 */
import { FibReader } from '../../router/fib/reader.ts';
import { type RouteChange, RouteSource } from '../../router/fib/shared.ts';
import { FibWriter } from '../../router/fib/writer.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { MutableTick } from '../../router/lib/clock.ts';
import { GsoType, type PacketLink, RecordFlag } from '../../router/lib/link.ts';
import { Random } from '../../router/lib/rand.ts';
import { PagePool, World } from '../../router/lib/world.ts';
import { Stack } from '../../router/stack/stack.ts';
import { ip4, ip6, octets, tcp, udp } from '../kit/packets.ts';
import { linkAddress } from '../kit/stack.ts';
import { destinations, type PrefixColumns, syntheticTable } from './prefixes.ts';
import { type BenchOptions, type BenchReport, cpuSeconds, Samples } from './table.ts';

const V4_PREFIXES = 1_000_000;
const V6_PREFIXES = 220_000;
const LINKS = 8;
/** Records of the incoming ring: as many as fit a child's ring of 4 MiB, packed as they are there. */
const RING = 4 << 20;
const MAX_RECORDS = 16384;
/** Times the ring is walked per sample; TTL falls by one each time. */
const PASSES = 64;
const QUEUE = 1 << 20;

/** A link whose other side is infinitely fast: records are written one after the other into a ring and forgotten. */
class SinkLink implements PacketLink {
  readonly index: number;
  readonly name: string;
  readonly vrf = 0;
  mtu = 1420;
  isUp = true;
  readonly backlog = 0;
  readonly highWater = QUEUE;
  octets = 0;
  records = 0;
  readonly #base: number;
  #next = 0;

  constructor(world: World, index: number) {
    this.index = index;
    this.name = `sink${index}`;
    this.#base = world.alloc(QUEUE);
  }

  reserve(length: number): number {
    if (this.#next + length + 32 > QUEUE) this.#next = 0;
    return this.#base + this.#next + 16;
  }

  commit(length: number): void {
    this.#next += (length + 31) & ~15;
    this.octets += length;
    this.records++;
  }

  flush(): void {}

  wantDrain(): void {}
}

export async function run({ rounds, log }: BenchOptions): Promise<BenchReport> {
  const samples = new Samples();
  const writer = new FibWriter();
  const reader = new FibReader(writer.shared);
  const tables = { 4: fill(writer, 4, V4_PREFIXES, log), 6: fill(writer, 6, V6_PREFIXES, log) };
  const shared = writer.takeChangedShared();
  if (shared !== undefined) reader.refresh(shared);

  const world = new World(96 << 20);
  const tick = new MutableTick();
  const pages = new PagePool(world, 16384, 64);
  const stack = new Stack({ world, pages, fib: reader, tick, random: new Random(1) });
  const links = Array.from({ length: LINKS }, (_, i) => new SinkLink(world, i + 1));
  for (const l of links) stack.addLink(l, [linkAddress(`172.20.0.${l.index}/32`), linkAddress('fe80::1/64')]);
  const from = new SinkLink(world, LINKS + 1);
  stack.addLink(from, []);
  const ring = world.alloc(RING);
  const superAt = world.alloc(1 << 17);
  const lengths = new Int32Array(MAX_RECORDS);
  const places = new Int32Array(MAX_RECORDS);
  let records = 0;

  const load = (family: 4 | 6, size: number, kind: 'prefixes' | 'flows', seed: number): void => {
    const stride = (size + 31) & ~15;
    records = Math.min(MAX_RECORDS, Math.floor(RING / stride));
    const to = destinations(kind, tables[family], records, seed);
    for (let i = 0; i < records; i++) {
      const layer = udp({ src: 1024 + (i % 5000), dst: 443 }, octets(size - (family === 4 ? 28 : 48), 1));
      const dst = family === 4 ? Addr.v4(to.high[i]!) : Addr.v6(to.high[i]!, to.low[i]!, 0, 1);
      const p =
        family === 4
          ? ip4({ src: '198.18.0.1', dst: dst.toString(), ttl: 255, df: true }, layer)
          : ip6({ src: '2001:db8::5', dst: dst.toString(), hopLimit: 255 }, layer);
      places[i] = ring + i * stride;
      world.u8.set(p, places[i]!);
      lengths[i] = p.length;
    }
  };
  const forward = (): number => {
    const before = cpuSeconds();
    for (let pass = 0; pass < PASSES; pass++)
      for (let i = 0; i < records; i++) stack.onPacket(from, places[i]!, lengths[i]!, RecordFlag.CsumValid, 0, 0, 0);
    return cpuSeconds() - before;
  };

  const cases = [
    { name: 'IPv4, 64 octets, any prefix', family: 4, size: 64, kind: 'prefixes' },
    { name: 'IPv4, 64 octets, flows', family: 4, size: 64, kind: 'flows' },
    { name: 'IPv4, 1400 octets, any prefix', family: 4, size: 1400, kind: 'prefixes' },
    { name: 'IPv6, 84 octets, any prefix', family: 6, size: 84, kind: 'prefixes' },
    { name: 'IPv6, 1400 octets, flows', family: 6, size: 1400, kind: 'flows' },
  ] as const;
  const superPacket = ip4(
    { src: '198.18.0.1', dst: routable(tables[4]), ttl: 255, df: true },
    tcp({ src: 1, dst: 2 }, octets(57_960)),
  );
  for (let round = 0; round <= rounds; round++) {
    log(`round ${round} of ${rounds}`);
    for (const c of cases) {
      load(c.family, c.size, c.kind, 7 + round);
      const { heapUsed } = process.memoryUsage();
      const seconds = forward();
      if (round === 0) continue; // compiles the path
      samples.add(c.name, 'Mpps', (PASSES * records) / seconds / 1e6);
      // A collection in between shows as a negative number: what survives it is not growth.
      const grown = Math.max(0, process.memoryUsage().heapUsed - heapUsed);
      samples.add('heap growth per packet', 'octets', grown / (PASSES * records));
    }
    const before = cpuSeconds();
    for (let i = 0; i < 20_000; i++) {
      if (i % 200 === 0) world.u8.set(superPacket, superAt);
      stack.onPacket(from, superAt, superPacket.length, RecordFlag.CsumValid | RecordFlag.Gso, GsoType.TcpV4, 40, 1380);
    }
    const seconds = cpuSeconds() - before;
    if (round > 0)
      samples.add('IPv4 super-segments of 58 KB', 'Gbit/s', (20_000 * superPacket.length * 8) / seconds / 1e9);
  }
  const drops = Object.entries(stack.core.counters.dropTotals()).filter(([, n]) => n > 0);
  const links8 = links.filter((l) => l.records > 0).length;
  return {
    results: samples.figures(),
    ratios: { v4_forward_vs_goal: samples.median('IPv4, 64 octets, any prefix') / 10 },
    notes: [
      `${V4_PREFIXES} + ${V6_PREFIXES} prefixes (synthetic, seeded), incoming ring of ${RING >> 20} MiB`,
      `${links8} of ${LINKS} links used; drops: ${drops.map(([k, n]) => `${k} ${n}`).join(', ') || 'none'}`,
    ],
  };
}

function fill(writer: FibWriter, family: 4 | 6, count: number, log: (line: string) => void): PrefixColumns {
  log(`IPv${family}: ${count} prefixes`);
  const table = syntheticTable(family, count, LINKS, 2026 + family);
  const changes: RouteChange[] = [];
  for (let i = 0; i < table.count; i++) {
    const addr = family === 4 ? Addr.v4(table.high[i]!) : Addr.v6(table.high[i]!, table.low[i]!, 0, 0);
    changes.push({
      vrf: 0,
      prefix: Prefix.containing(addr, table.length[i]!)!,
      source: RouteSource.Ebgp,
      nextHops: [{ link: table.nextHop[i]! + 1 }],
    });
  }
  writer.apply(changes);
  return table;
}

function routable(table: PrefixColumns): string {
  return Addr.v4(destinations('prefixes', table, 1, 3).high[0]!).toString();
}
