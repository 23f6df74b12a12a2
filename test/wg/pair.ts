/** Two real children on loopback with one device each, their rings driven by the test. */
import { fileURLToPath } from 'node:url';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import type { PacketLink, PacketSink } from '../../router/lib/link.ts';
import { GsoType, RecordFlag } from '../../router/lib/link.ts';
import { type LogLine, makeLogger } from '../../router/lib/log.ts';
import { World } from '../../router/lib/world.ts';
import { loadNative, type Native } from '../../router/native/index.ts';
import { generatePrivateKey, publicKey } from '../../wg/keys.ts';
import type { WgDeviceConfig, WgPeerConfig } from '../../wg/model.ts';
import { initRegion, type WgLink, WgRing } from '../../wg/ring.ts';
import { HEADER_BYTES, RING_BYTES, regionBytes } from '../../wg/ring-layout.ts';
import { type WgEvent, WgSupervisor } from '../../wg/supervisor.ts';

export const BINARY = process.env['MLSHIM_WG_BIN'] ?? fileURLToPath(new URL('../../mlshim-wg', import.meta.url));

export interface Received {
  readonly link: PacketLink;
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly gsoType: number;
  readonly hdrLen: number;
  readonly gsoSize: number;
}

/** One child, its ring, and everything it delivered. */
export class Side implements PacketSink {
  readonly native: Native;
  readonly world: World;
  readonly base: number;
  readonly ring: WgRing;
  readonly supervisor: WgSupervisor;
  readonly events: WgEvent[] = [];
  readonly lines: LogLine[] = [];
  readonly received: Received[] = [];
  readonly epoll: number;
  readonly scratch: number;
  readonly toChild: number;
  readonly fromChild: number;
  readonly memfd: number;
  /** Count octets instead of keeping packets. */
  counting = false;
  octets = 0;
  packets = 0;
  records = 0;

  constructor(
    native: Native,
    world: World,
    ringBytes = RING_BYTES,
    resolve: (host: string) => Promise<readonly Addr[]> = async () => [],
  ) {
    this.native = native;
    this.world = world;
    this.base = world.alloc(regionBytes(ringBytes), 4096);
    this.scratch = world.alloc(4096, 64);
    this.memfd = native.memfdCreate('mlshim-test', regionBytes(ringBytes));
    const mapped = native.mapOver(this.memfd, this.base, regionBytes(ringBytes));
    if (mapped < 0) throw new Error(`mapOver: ${mapped}`);
    initRegion(world, this.base, ringBytes);
    this.toChild = native.eventfd();
    this.fromChild = native.eventfd();
    this.epoll = native.epollCreate();
    native.epollAdd(this.epoll, this.fromChild, 1, 1);
    this.ring = new WgRing(world, this.base, ringBytes, () => native.signal(this.toChild));
    this.supervisor = new WgSupervisor({
      binary: BINARY,
      memfd: this.memfd,
      toChildFd: this.toChild,
      fromChildFd: this.fromChild,
      header: world.i32.subarray(this.base >> 2, (this.base + HEADER_BYTES) >> 2),
      log: makeLogger((l) => this.lines.push(l), 'wg', 'debug'),
      resolve,
      onEvent: (e) => this.events.push(e),
    });
  }

  onPacket(
    link: PacketLink,
    at: number,
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
  ): void {
    this.records++;
    this.packets += (flags & RecordFlag.Gso) === 0 ? 1 : Math.ceil((length - hdrLen) / gsoSize);
    this.octets += length;
    if (this.counting) return;
    const bytes = this.world.u8.slice(at, at + length);
    this.received.push({ link, bytes, flags, gsoType, hdrLen, gsoSize });
  }

  /** Deliver what there is. */
  poll(): number {
    return this.ring.poll(256, this);
  }

  /** Sleep in the addon until the child signals. */
  wait(timeoutMs: number): void {
    if (!this.ring.prepareSleep()) return;
    this.native.poll(this.epoll, timeoutMs, this.scratch, 1);
    this.native.drain(this.fromChild);
    this.ring.awake();
  }

  send(link: WgLink, packet: Uint8Array, gsoSize = 0): boolean {
    const at = link.reserve(packet.length);
    if (at < 0) return false;
    this.world.u8.set(packet, at);
    const v6 = packet[0]! >> 4 === 6;
    const ihl = v6 ? 40 : 20;
    const udp = packet[v6 ? 6 : 9] === 17;
    const hdr = ihl + (udp ? 8 : (packet[ihl + 12]! >> 4) * 4);
    const type = udp ? GsoType.UdpL4 : v6 ? GsoType.TcpV6 : GsoType.TcpV4;
    const flags = RecordFlag.NeedsCsum | (gsoSize > 0 ? RecordFlag.Gso : 0);
    const whole = gsoSize > 0;
    link.commit(packet.length, flags, whole ? type : 0, whole ? hdr : 0, gsoSize, ihl, udp ? 6 : 16);
    link.flush();
    return true;
  }

  async close(): Promise<void> {
    await this.supervisor.close();
    for (const fd of [this.epoll, this.toChild, this.fromChild, this.memfd]) this.native.close(fd);
  }
}

export interface Pair {
  readonly a: Side;
  readonly b: Side;
  readonly linkA: WgLink;
  readonly linkB: WgLink;
}

const ANY = [Prefix.parse('0.0.0.0/0')!, Prefix.parse('::/0')!];

/** Two children joined by one tunnel over 127.0.0.1; only A knows where B is, unless `both`. */
export async function makePair(options: { mtu?: number; both?: boolean } = {}): Promise<Pair> {
  const native = loadNative();
  const world = new World(2 * regionBytes(RING_BYTES) + (1 << 20));
  native.attachWorld(world.u8);
  const a = new Side(native, world);
  const b = new Side(native, world);
  await Promise.all([a.supervisor.start(), b.supervisor.start()]);
  const keyA = generatePrivateKey();
  const keyB = generatePrivateKey();
  const device = (key: Uint8Array, peer: WgPeerConfig): WgDeviceConfig => ({
    privateKey: key,
    listenPort: 0,
    peers: [peer],
  });
  const peer = (key: Uint8Array, port: number): WgPeerConfig => ({
    publicKey: publicKey(key),
    presharedKey: undefined,
    endpoint: port === 0 ? undefined : { host: '127.0.0.1', port },
    allowedIps: ANY,
    keepaliveS: 0,
  });
  const mtu = options.mtu ?? 1420;
  const spec = { index: 3, name: 'wg', mtu, bindAddresses: [Addr.parse('127.0.0.1')!] };
  await b.supervisor.addDevice(spec, device(keyB, peer(keyA, 0)));
  const [bNow] = await b.supervisor.get();
  await a.supervisor.addDevice(spec, device(keyA, peer(keyB, bNow!.listenPort)));
  if (options.both === true) {
    const [aNow] = await a.supervisor.get();
    await b.supervisor.setDevice(3, device(keyB, peer(keyA, aNow!.listenPort)));
  }
  const link = (side: Side): WgLink => {
    const l = side.ring.addLink({ index: 1, name: 'wg', vrf: 0, mtu, device: 3 });
    l.isUp = true;
    return l;
  };
  return { a, b, linkA: link(a), linkB: link(b) };
}

export async function closePair(p: Pair): Promise<void> {
  await Promise.all([p.a.close(), p.b.close()]);
}

/** Let Node's own events run, so that supervisors see their children. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Poll both sides until `done`; fails after `limitMs`. */
export async function until(p: Pair, done: () => boolean, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!done()) {
    if (performance.now() > end) throw new Error(`not done after ${limitMs} ms`);
    p.a.poll();
    p.b.poll();
    await turn();
  }
}
