/**
 * Probes over the host's own sockets, for uplinks that are interfaces or addresses of the host: bound to a device or a source
 * before the first packet, so that each goes out where it is meant to. Echo requests take a ping socket, or a raw one where
 * those are not allowed; where neither is, that is told as an impediment, since it says nothing about the path.
 */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { Socket } from 'node:net';
import type { Addr, Family } from '../lib/addr.ts';
import { get16, put16 } from '../lib/bytes.ts';
import { sumBytes } from '../lib/checksum.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import type { HostWay } from '../lib/host-way.ts';
import { systemEntropy } from '../lib/rand.ts';
import { loadNative, SOCK_DGRAM, SOCK_STREAM } from '../native/index.ts';
import { type ProbeQuestion, type ProbeResult, type ProbeTalk, talkOf } from '../uplink/probe.ts';
import { Icmp4, Icmp6 } from '../wire/icmp.ts';
import { errnoText, familyNumber, handedOver, reasonOf, zoned } from './host-socket.ts';

type Done = (result: ProbeResult) => void;

/** ICMP header and as many octets as `ping` sends. */
const ECHO_LEN = 8 + 56;
/** Random octets behind the header that only the answer can have. */
const TOKEN_LEN = 8;
const ICMP_HEADER = 8;
/** Octets of the age that comes with a message. */
const AGE_LEN = 8;
/** A reply is looked for again after this part of the time it has taken so far: late by 6 % of the wait at most. */
const LOOK_PART = 1 / 16;
const MIN_LOOK_MS = 1;
const MAX_LOOK_MS = 50;
const EPERM = 1;
const EAGAIN = 11;
const EACCES = 13;

export class HostProber {
  readonly #clock: Clock;
  readonly #running = new Set<HostProbe>();
  #sequence = 0;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /**
   * Ask `to` once.
   * @param done called once at most, later; not at all when nobody answers
   * @returns to be called when the answer is not waited for any more
   */
  send(way: HostWay, question: ProbeQuestion, to: Addr, done: Done): () => void {
    const probe = this.#probeFor(way, question, to);
    this.#running.add(probe);
    const end = (): void => {
      if (!this.#running.delete(probe)) return;
      probe.close();
    };
    probe.start((result) => {
      if (!this.#running.has(probe)) return;
      end();
      done(result);
    });
    return end;
  }

  /** Give up all that wait. */
  close(): void {
    for (const probe of this.#running) probe.close();
    this.#running.clear();
  }

  #probeFor(way: HostWay, question: ProbeQuestion, to: Addr): HostProbe {
    if (question.kind === 'icmp') {
      this.#sequence = (this.#sequence + 1) & 0xffff;
      return new EchoProbe(way, to, this.#sequence, this.#clock);
    }
    const talk = talkOf(question, to, new DataView(systemEntropy(4).buffer).getInt32(0));
    return talk.transport === 'stream'
      ? new StreamProbe(way, to, talk, this.#clock)
      : new DatagramProbe(way, to, talk, this.#clock);
  }
}

/** Why echo requests cannot be sent from here, in words; undefined = they can. */
export function echoImpediment(family: Family): string | undefined {
  const fd = echoSocket(family);
  if (fd >= 0) loadNative().close(fd);
  return fd < 0 ? impedimentOf(-fd) : undefined;
}

/** A ping socket, else a raw one; or -errno. */
function echoSocket(family: Family): number {
  const { echoSocket } = loadNative();
  const ping = echoSocket(familyNumber(family), 0);
  return ping === -EACCES || ping === -EPERM ? echoSocket(familyNumber(family), 1) : ping;
}

function impedimentOf(errno: number): string {
  if (errno !== EPERM && errno !== EACCES) return `no socket for echo requests (${errnoText(errno)})`;
  return 'echo requests are not allowed: the sysctl net.ipv4.ping_group_range leaves our group out, and there is no CAP_NET_RAW';
}

/** One question on its way, of whichever kind. */
abstract class HostProbe {
  protected readonly way: HostWay;
  protected readonly to: Addr;
  protected readonly clock: Clock;
  #sentAt = 0;
  #done: Done = () => undefined;

  constructor(way: HostWay, to: Addr, clock: Clock) {
    this.way = way;
    this.to = to;
    this.clock = clock;
  }

  start(done: Done): void {
    this.#done = done;
    this.#sentAt = this.clock.now();
    const refused = this.ask();
    // Whoever asks is told later, whatever happens.
    if (refused !== undefined) setImmediate(() => this.tell(refused));
  }

  abstract close(): void;

  /** @returns why it cannot be asked */
  protected abstract ask(): ProbeResult | undefined;

  protected get elapsedMs(): number {
    return this.clock.now() - this.#sentAt;
  }

  /** The address as the kernel wants it. */
  protected get remote(): string {
    return zoned(this.to, this.way.device);
  }

  protected tell(result: ProbeResult): void {
    this.#done(result);
  }

  /** Bind a socket as the uplink says. @returns why that cannot be; the socket is closed then */
  protected bound(fd: number): ProbeResult | undefined {
    const { device, source } = this.way;
    const { bindToDevice, inetBind, close } = loadNative();
    if (fd < 0) return { reason: errnoText(-fd) };
    const onDevice = device === undefined ? 0 : bindToDevice(fd, device);
    const isMine = source !== undefined && source.family === this.to.family;
    const answer = onDevice < 0 || !isMine ? onDevice : inetBind(fd, zoned(source, device), 0);
    if (answer >= 0) return undefined;
    close(fd);
    if (onDevice === -EPERM) return { impediment: `sockets cannot be bound to ${device} (${errnoText(EPERM)})` };
    return { reason: onDevice < 0 ? `${device}: ${errnoText(-onDevice)}` : `${source}: ${errnoText(-answer)}` };
  }
}

class EchoProbe extends HostProbe {
  readonly #request = new Uint8Array(ECHO_LEN);
  /** The age of what was received, and it. */
  readonly #room = new Uint8Array(AGE_LEN + ECHO_LEN);
  #fd = -1;
  #timer: NodeJS.Timeout | undefined;

  constructor(way: HostWay, to: Addr, sequence: number, clock: Clock) {
    super(way, to, clock);
    const b = this.#request;
    b[0] = to.family === 4 ? Icmp4.Echo : Icmp6.Echo;
    put16(b, 6, sequence);
    b.set(systemEntropy(TOKEN_LEN), ICMP_HEADER);
    // Raw IPv4 sockets take it as it is, and need an identifier that no ping of the host has.
    b.set(b.subarray(ICMP_HEADER, ICMP_HEADER + 2), 4);
    put16(b, 2, ~sumBytes(b, 0, b.length) & 0xffff);
  }

  protected ask(): ProbeResult | undefined {
    const fd = echoSocket(this.to.family);
    if (fd < 0) return { impediment: impedimentOf(-fd) };
    const unbound = this.bound(fd);
    if (unbound !== undefined) return unbound;
    this.#fd = fd;
    const sent = loadNative().echoSend(fd, this.remote, this.#request);
    if (sent < 0) return { reason: errnoText(-sent) };
    this.#lookLater();
    return undefined;
  }

  close(): void {
    clearTimeout(this.#timer);
    if (this.#fd >= 0) loadNative().close(this.#fd);
    this.#fd = -1;
  }

  #lookLater(): void {
    const waitMs = Math.min(MAX_LOOK_MS, Math.max(MIN_LOOK_MS, this.elapsedMs * LOOK_PART));
    this.#timer = setTimeout(() => this.#look(), waitMs).unref();
  }

  #look(): void {
    for (;;) {
      const n = loadNative().echoReceive(this.#fd, this.#room);
      if (n === -EAGAIN) break;
      if (n < 0) {
        this.tell({ reason: errnoText(-n) });
        return;
      }
      if (!this.#isAnswer(this.#room.subarray(AGE_LEN, n))) continue;
      const [ageUs] = new Float64Array(this.#room.buffer, 0, 1);
      this.tell({ rttMs: Math.max(0, this.elapsedMs - ageUs! / 1000) });
      return;
    }
    this.#lookLater();
  }

  #isAnswer(message: Uint8Array): boolean {
    const asked = this.#request;
    const reply = this.to.family === 4 ? Icmp4.EchoReply : Icmp6.EchoReply;
    if (message.length < ICMP_HEADER + TOKEN_LEN || message[0] !== reply) return false;
    if (get16(message, 6) !== get16(asked, 6)) return false;
    for (let i = ICMP_HEADER; i < ICMP_HEADER + TOKEN_LEN; i++) if (message[i] !== asked[i]) return false;
    return true;
  }
}

/** A conversation of router/uplink/probe.ts. */
abstract class TalkProbe extends HostProbe {
  protected readonly talk: ProbeTalk;

  constructor(way: HostWay, to: Addr, talk: ProbeTalk, clock: Clock) {
    super(way, to, clock);
    this.talk = talk;
  }

  protected hear(octets: Uint8Array): void {
    const verdict = this.talk.hear(octets);
    if (verdict === undefined) return;
    this.tell(verdict.isGood ? { rttMs: this.elapsedMs } : { reason: verdict.reason });
  }
}

class DatagramProbe extends TalkProbe {
  #socket: DatagramSocket | undefined;

  protected ask(): ProbeResult | undefined {
    const { family } = this.to;
    const fd = loadNative().kernelSocket(familyNumber(family), SOCK_DGRAM);
    const unbound = this.bound(fd);
    if (unbound !== undefined) return unbound;
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    this.#socket = socket;
    socket.on('error', (e: NodeJS.ErrnoException) => this.tell({ reason: reasonOf(e) }));
    socket.on('message', (octets) => this.hear(octets));
    socket.bind({ fd }, () => {
      socket.connect(this.talk.port, this.remote, () => {
        if (this.#socket === socket) socket.send(this.talk.request);
      });
    });
    socket.unref();
    return undefined;
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.removeAllListeners('message');
    socket?.close();
  }
}

class StreamProbe extends TalkProbe {
  #socket: Socket | undefined;

  protected ask(): ProbeResult | undefined {
    const fd = loadNative().kernelSocket(familyNumber(this.to.family), SOCK_STREAM);
    const unbound = this.bound(fd);
    if (unbound !== undefined) return unbound;
    const socket = new Socket(handedOver(fd));
    this.#socket = socket;
    socket.on('error', (e: NodeJS.ErrnoException) => this.tell({ reason: reasonOf(e) }));
    socket.on('close', () => this.tell({ reason: 'the connection ended without an answer' }));
    socket.on('data', (octets) => this.hear(octets));
    socket.connect({ host: this.remote, port: this.talk.port }, () => {
      if (this.talk.request.length === 0) this.tell({ rttMs: this.elapsedMs });
      else socket.write(this.talk.request);
    });
    socket.unref();
    return undefined;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}
