/**
 * The other end of a connection, played by the test: sends segments octet by octet as told, and keeps what the host under
 * test sends, parsed. IPv4 only; its parser and builder share nothing with router/wire.
 */

import { World } from '../../router/lib/world.ts';
import type { TcpConnection } from '../../router/tcp/connection.ts';
import type { TcpSettings } from '../../router/tcp/settings.ts';
import { onesSum, pseudoSum, SimNet, type SimWire } from './sim.ts';
import { SimApp, TcpHost } from './tcp-host.ts';

/** A segment as the test sees it. Sequence numbers are relative: the host's to its ISN, the peer's to `PEER_ISN`. */
export interface Segment {
  /** Of F S R P A U, in that order. */
  readonly flags: string;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly length: number;
  readonly mss: number | undefined;
  readonly scale: number | undefined;
  readonly sackPermitted: boolean;
  readonly tsValue: number | undefined;
  readonly tsEcho: number | undefined;
  /** Relative to PEER_ISN. */
  readonly sack: readonly (readonly [number, number])[];
  readonly atMs: number;
}

export interface Sending {
  readonly flags?: string;
  readonly seq: number;
  readonly ack?: number;
  readonly window?: number;
  readonly length?: number;
  readonly mss?: number;
  readonly scale?: number;
  readonly sackPermitted?: boolean;
  readonly ts?: readonly [number, number];
  readonly sack?: readonly (readonly [number, number])[];
}

export const PEER_ISN = 0x7fffff00; // crosses 2^31 soon
const HOST = 1;
const PEER = 2;
const LETTERS = 'FSRPAU';

export class TcpPeer {
  readonly net: SimNet;
  readonly host: TcpHost;
  readonly wire: SimWire;
  readonly app: SimApp;
  readonly seen: Segment[] = [];
  hostIsn = 0;
  hostPort = 80;
  peerPort = 5555;
  /** One way, so that times in tests are easy: nothing takes any. */
  constructor(mtu = 1500, startMs = 1000) {
    this.net = new SimNet(7, startMs);
    this.host = new TcpHost(this.net, { number: HOST, pages: 1024 });
    this.wire = this.net.wire({ world: this.host.world, index: 1 }, { world: new World(2 << 20), index: 2 }, { mtu });
    this.host.attach(this.wire.a);
    this.app = new SimApp(this.host);
    this.app.finishes = false;
    this.wire.filter = (packet, from) => {
      if (from !== this.wire.a) return 'pass';
      this.seen.push(this.#parse(packet));
      return 'drop';
    };
  }

  get connection(): TcpConnection {
    return this.app.connection!;
  }

  /** The host connects to us; its SYN is seen and answered. */
  accept(settings: TcpSettings = {}, answer: Partial<Sending> = {}): Segment {
    const syn = this.connect(settings);
    const ts = answer.ts;
    this.send({ flags: 'SA', seq: 0, ack: 1, mss: 1460, ...answer, ...(ts ? { ts: [ts[0], syn.tsValue!] } : {}) });
    this.take();
    return syn;
  }

  /** The host sends a SYN. */
  connect(settings: TcpSettings = {}): Segment {
    const flow = { vrf: 0, scope: 0, device: 0, isV4: true, l0: 0, l1: 0, l2: 0xffff, l3: 0x0a000000 | HOST };
    const remote = { r0: 0, r1: 0, r2: 0xffff, r3: 0x0a000000 | PEER };
    this.hostPort = 4000;
    this.peerPort = 80;
    const key = { ...flow, ...remote, localPort: this.hostPort, remotePort: this.peerPort };
    this.app.connection = this.host.engine.connect(key, this.app, settings, this.net.tick)!;
    this.hostIsn = this.connection.iss;
    const syn = this.seen.pop()!;
    this.seen.length = 0;
    return { ...syn, seq: 0 };
  }

  /** We connect to a server on the host: the whole handshake. */
  open(settings: TcpSettings = {}, syn: Partial<Sending> = {}): Segment {
    this.listen(settings);
    this.send({ flags: 'S', seq: 0, mss: 1460, ...syn });
    const answer = this.take()[0]!;
    this.send({ flags: 'A', seq: 1, ack: 1, ...(syn.ts ? { ts: [syn.ts[0], answer.tsValue!] } : {}) });
    this.take();
    return answer;
  }

  listen(settings: TcpSettings = {}, backlog = 8): void {
    this.host.listen(
      80,
      (c) => {
        this.app.established(c);
        c.pull();
      },
      () => this.app,
      settings,
      backlog,
    );
  }

  /** Send one segment and let the host react. */
  send(s: Sending): void {
    this.wire.b.inject(this.#build(s));
    this.net.settle();
  }

  /** What the host sent since the last call. */
  take(): Segment[] {
    this.net.settle();
    return this.seen.splice(0);
  }

  /** Let `ms` pass and return what the host sent meanwhile. */
  after(ms: number): Segment[] {
    this.net.runFor(ms);
    return this.take();
  }

  #parse(p: Uint8Array): Segment {
    const v = new DataView(p.buffer, p.byteOffset, p.length);
    const header = (v.getUint8(32) >> 4) * 4;
    const bits = v.getUint8(33);
    const rawSeq = v.getInt32(24);
    if ((bits & 2) !== 0) this.hostIsn = rawSeq;
    const options: { -readonly [K in keyof Segment]?: Segment[K] } = { sackPermitted: false, sack: [] };
    for (let o = 40; o < 20 + header; ) {
      const kind = v.getUint8(o);
      if (kind === 0) break;
      if (kind === 1) {
        o++;
        continue;
      }
      const n = v.getUint8(o + 1);
      if (kind === 2) options.mss = v.getUint16(o + 2);
      if (kind === 3) options.scale = v.getUint8(o + 2);
      if (kind === 4) options.sackPermitted = true;
      if (kind === 8) {
        options.tsValue = v.getInt32(o + 2);
        options.tsEcho = v.getInt32(o + 6);
      }
      if (kind === 5)
        options.sack = Array.from({ length: (n - 2) / 8 }, (_, i) => [
          (v.getInt32(o + 2 + 8 * i) - PEER_ISN) | 0,
          (v.getInt32(o + 6 + 8 * i) - PEER_ISN) | 0,
        ]);
      o += n;
    }
    return {
      flags: [...LETTERS].filter((_, i) => (bits & (1 << i)) !== 0).join(''),
      seq: (rawSeq - this.hostIsn) | 0,
      ack: (bits & 16) !== 0 ? (v.getInt32(28) - PEER_ISN) | 0 : 0,
      window: v.getUint16(34),
      length: p.length - 20 - header,
      atMs: this.net.nowMs,
      ...options,
    } as Segment;
  }

  #build(s: Sending): Uint8Array {
    const options: number[] = [];
    const put32 = (x: number): void => void options.push(x >>> 24, (x >>> 16) & 255, (x >>> 8) & 255, x & 255);
    if (s.mss !== undefined && (s.flags ?? '').includes('S')) options.push(2, 4, s.mss >> 8, s.mss & 255);
    if (s.scale !== undefined) options.push(1, 3, 3, s.scale);
    if (s.sackPermitted) options.push(1, 1, 4, 2);
    if (s.ts !== undefined) {
      options.push(1, 1, 8, 10);
      put32(s.ts[0]);
      put32(s.ts[1]);
    }
    if (s.sack !== undefined) {
      options.push(1, 1, 5, 2 + 8 * s.sack.length);
      for (const [left, right] of s.sack) {
        put32((this.hostIsn + left) | 0);
        put32((this.hostIsn + right) | 0);
      }
    }
    const header = 20 + options.length;
    const length = s.length ?? 0;
    const p = new Uint8Array(20 + header + length);
    const v = new DataView(p.buffer);
    p.set([0x45, 0, p.length >> 8, p.length, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, PEER, 10, 0, 0, HOST]);
    v.setUint16(10, onesSum(p, 0, 20) ^ 0xffff);
    v.setUint16(20, this.peerPort);
    v.setUint16(22, this.hostPort);
    v.setInt32(24, (PEER_ISN + s.seq) | 0);
    if (s.ack !== undefined) v.setInt32(28, (this.hostIsn + s.ack) | 0);
    v.setUint8(32, header * 4);
    v.setUint8(
      33,
      [...(s.flags ?? 'A')].reduce((bits, letter) => bits | (1 << LETTERS.indexOf(letter)), 0),
    );
    v.setUint16(34, s.window ?? 65535);
    p.set(options, 40);
    for (let i = 0; i < length; i++) p[20 + header + i] = streamOctet(s.seq - 1 + i);
    v.setUint16(36, onesSum(p, 20, p.length, pseudoSum(p)) ^ 0xffff);
    return p;
  }
}

/** The octets the peer sends; `SimApp.receiveSalt` 0 expects them. */
function streamOctet(position: number): number {
  return Math.imul(position ^ (position >>> 13), 0x9e3779b1) >>> 24;
}
