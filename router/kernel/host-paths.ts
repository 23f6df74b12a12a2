/**
 * How packets of this host get somewhere: by which interface and gateway, and how large they may be (RFC 1191, RFC 8201). For `mlshim
 * doctor`: a few datagrams and echo requests are sent, nothing is changed.
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import type { Addr, Family } from '../lib/addr.ts';
import { put16 } from '../lib/bytes.ts';
import { sumBytes } from '../lib/checksum.ts';
import { systemClock } from '../lib/clock.ts';
import type { HostWay } from '../lib/host-way.ts';
import { loadNative, SOCK_DGRAM, SockOpt } from '../native/index.ts';
import { Icmp4, Icmp6 } from '../wire/icmp.ts';
import { familyNumber } from '../wire/netlink.ts';
import { Host } from './host.ts';
import { readTunnel } from './tunnel.ts';
import { TUNNEL_MARK, tunnelDevice } from './uplink.ts';

export interface PathQuestion {
  readonly to: Addr;
  readonly way: HostWay;
  /** Of its packets, as those of a tunnel have one; 0 = none. */
  readonly mark: number;
}

export interface FirstHop {
  readonly device: string;
  /** undefined = the destination itself is on the link. */
  readonly gateway: Addr | undefined;
  /** The gateway's link-layer address, where the host knows it; else empty. */
  readonly neighbour: string;
}

export interface PathMtu {
  /** The largest IP packet, in octets, that gets there as far as is known. */
  readonly octets: number;
  /** Somebody answered one as large; no router said that it is too large; or larger ones are lost and nobody says so. */
  readonly how: 'answered' | 'unopposed' | 'lost';
}

const IP_HEADER = { 4: 20, 6: 40 } as const;
const UDP_HEADER = 8;
const ICMP_HEADER = 8;
const DISCARD_PORT = 9;
const SOL_SOCKET = 1;
const SO_MARK = 36;
/** IP_PMTUDISC_DO and IPV6_PMTUDISC_DO: never fragment, refuse what is known not to fit. */
const DO = 2;
/** As ping's; every path carries it. */
const SMALL = 84;
/** Routers that shrink the path one after the other. */
const MAX_ROUNDS = 5;
const WAIT_MS = 700;
const LOOK_MS = 5;
const TRIES = 2;
/** As near as it is worth looking. */
const PRECISION = 8;

/** The mark of a tunnel's own packets: rules of the kernel backend leave those alone. */
export function markOfTunnel(uplink: string): number {
  try {
    return readTunnel(tunnelDevice(uplink))?.fwmark ?? TUNNEL_MARK;
  } catch {
    return TUNNEL_MARK; // without privileges it cannot be set either
  }
}

/** undefined when the host has no route. @throws KernelRefusal when the kernel cannot be asked */
export function firstHop({ to, way, mark }: PathQuestion): FirstHop | undefined {
  const host = Host.open();
  try {
    const links = host.links();
    const oif = way.device === undefined ? 0 : links.find((l) => l.name === way.device)?.index;
    const hop = oif === undefined ? undefined : host.routeTo(to, { oif, source: way.source, mark })?.hops[0];
    const device = links.find((l) => l.index === hop?.ifindex)?.name;
    if (hop === undefined || device === undefined) return undefined;
    return {
      device,
      gateway: hop.gateway,
      neighbour: hop.gateway === undefined ? '' : neighbourOf(hop.gateway, device),
    };
  } finally {
    host.close();
  }
}

/** Of IPv4 only: link-local gateways of IPv6 are called alike on many networks, but are compared with their interface. */
function neighbourOf(gateway: Addr, device: string): string {
  try {
    const rows = readFileSync('/proc/net/arp', 'latin1').split('\n').slice(1);
    const row = rows.map((r) => r.split(/\s+/)).find((r) => r[0] === String(gateway) && r[5] === device);
    return row === undefined || /^[0:]+$/.test(row[3]!) ? '' : row[3]!;
  } catch {
    return '';
  }
}

/**
 * How large packets may be, up to `octets`.
 * @returns why it cannot be found out, as text
 */
export async function probePath(q: PathQuestion, octets: number): Promise<PathMtu | string> {
  const datagrams = await DatagramPath.open(q);
  if (typeof datagrams === 'string') return datagrams;
  try {
    let size = Math.min(octets, datagrams.mtu);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (await datagrams.isAnswered(size)) return { octets: size, how: 'answered' };
      if (datagrams.mtu >= size) break;
      size = datagrams.mtu;
    }
    return await byEchoes(q, size);
  } finally {
    datagrams.close();
  }
}

async function byEchoes(q: PathQuestion, size: number): Promise<PathMtu> {
  const nothing: PathMtu = { octets: size, how: 'unopposed' };
  const begun = systemClock.now();
  if (!(await isEchoed(q, SMALL, WAIT_MS))) return nothing;
  const waitMs = Math.min(WAIT_MS, 100 + 4 * (systemClock.now() - begun));
  if (await isEchoed(q, size, waitMs)) return { octets: size, how: 'answered' };
  let [fits, tooLarge] = [SMALL, size];
  while (tooLarge - fits > PRECISION) {
    const middle = (fits + tooLarge) >> 1;
    if (await isEchoed(q, middle, waitMs)) fits = middle;
    else tooLarge = middle;
  }
  return { octets: fits, how: 'lost' };
}

/** A datagram socket to where nobody listens: a host that is there refuses what arrives. */
class DatagramPath {
  readonly #fd: number;
  readonly #family: Family;
  readonly #socket: ReturnType<typeof createSocket>;
  #refused: () => void = () => undefined;

  private constructor(fd: number, family: Family, socket: ReturnType<typeof createSocket>) {
    this.#fd = fd;
    this.#family = family;
    this.#socket = socket;
    socket.on('error', (e: NodeJS.ErrnoException) => {
      if (e.code === 'ECONNREFUSED') this.#refused();
    });
  }

  /** @returns why there is no way */
  static async open({ to, way, mark }: PathQuestion): Promise<DatagramPath | string> {
    const fd = loadNative().kernelSocket(familyNumber(to.family), SOCK_DGRAM);
    const errno = fd < 0 ? fd : prepare(fd, { to, way, mark });
    if (errno < 0) return getSystemErrorName(errno);
    const socket = createSocket(to.family === 4 ? 'udp4' : 'udp6');
    return new Promise((done) => {
      const failed = (e: NodeJS.ErrnoException): void => {
        socket.close();
        done(e.code ?? e.message);
      };
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.off('error', failed);
        done(new DatagramPath(fd, to.family, socket));
      });
      socket.bind({ fd }, () => socket.connect(DISCARD_PORT, String(to)));
    });
  }

  /** As the host believes. */
  get mtu(): number {
    const { getOption } = loadNative();
    const [level, name] = this.#family === 4 ? [SockOpt.Ip, SockOpt.IpMtu] : [SockOpt.Ipv6, SockOpt.Ipv6Mtu];
    return getOption(this.#fd, level, name);
  }

  /** Whether a packet of that size is refused by its destination, which therefore got it. */
  async isAnswered(octets: number): Promise<boolean> {
    const payload = Buffer.alloc(octets - IP_HEADER[this.#family] - UDP_HEADER);
    let timer: NodeJS.Timeout | undefined;
    const answered = await new Promise<boolean>((done) => {
      this.#refused = () => done(true);
      timer = setTimeout(() => done(false), WAIT_MS);
      // What does not fit any more is refused at once; `mtu` tells.
      this.#socket.send(payload, (e) => {
        if (e !== null) done(false);
      });
    });
    clearTimeout(timer);
    return answered;
  }

  close(): void {
    this.#socket.close();
  }
}

/** Whether an echo request of that size, as an IP packet, is answered; also false where none may be sent. */
async function isEchoed(q: PathQuestion, octets: number, waitMs: number): Promise<boolean> {
  const { family } = q.to;
  const native = loadNative();
  const number = familyNumber(family);
  const ping = native.echoSocket(number, 0);
  const fd = ping < 0 ? native.echoSocket(number, 1) : ping;
  if (fd < 0 || prepare(fd, q) < 0) return false;
  const request = echoRequest(family, octets - IP_HEADER[family]);
  const room = new Uint8Array(8 + octets);
  try {
    for (let i = 0; i < TRIES; i++) {
      if (native.echoSend(fd, String(q.to), request) < 0) return false;
      const end = systemClock.now() + waitMs;
      while (systemClock.now() < end) {
        await new Promise((done) => setTimeout(done, LOOK_MS));
        if (native.echoReceive(fd, room) > 0 && isReply(room.subarray(8), family, request)) return true;
      }
    }
    return false;
  } finally {
    native.close(fd);
  }
}

let sequence = 0;

function echoRequest(family: Family, length: number): Uint8Array {
  const b = new Uint8Array(length);
  b[0] = family === 4 ? Icmp4.Echo : Icmp6.Echo;
  put16(b, 4, process.pid & 0xffff); // of raw sockets; ping sockets have one of their own
  put16(b, 6, ++sequence & 0xffff);
  put16(b, ICMP_HEADER, process.pid & 0xffff);
  put16(b, 2, ~sumBytes(b, 0, b.length) & 0xffff);
  return b;
}

function isReply(reply: Uint8Array, family: Family, request: Uint8Array): boolean {
  const isSame = (at: number): boolean => reply[at] === request[at];
  return reply[0] === (family === 4 ? Icmp4.EchoReply : Icmp6.EchoReply) && [6, 7, 8, 9].every((at) => isSame(at));
}

/** Forbid fragments, mark and bind a socket; it is closed when that cannot be. @returns 0 or -errno */
function prepare(fd: number, { to, way, mark }: PathQuestion): number {
  const { setOption, bindToDevice, inetBind, close } = loadNative();
  const { Ip, IpMtuDiscover, Ipv6, Ipv6MtuDiscover } = SockOpt;
  // A mark takes CAP_NET_ADMIN, without which no kernel backend runs either.
  if (mark !== 0) setOption(fd, SOL_SOCKET, SO_MARK, mark);
  const steps = [
    () => (to.family === 4 ? setOption(fd, Ip, IpMtuDiscover, DO) : setOption(fd, Ipv6, Ipv6MtuDiscover, DO)),
    () => (way.device === undefined ? 0 : bindToDevice(fd, way.device)),
    () => (way.source === undefined || way.source.family !== to.family ? 0 : inetBind(fd, String(way.source), 0)),
  ];
  for (const step of steps) {
    const answer = step();
    if (answer >= 0) continue;
    close(fd);
    return answer;
  }
  return 0;
}
