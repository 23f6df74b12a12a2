/**
 * Probes through the links of our own stack: echo requests, and what router/uplink/probe.ts says over TCP and UDP. Runs in
 * the data-plane worker; whoever asks has a timeout of its own and then cancels.
 */
import type { Addr } from '../lib/addr.ts';
import type { Tick } from '../lib/clock.ts';
import type { Random } from '../lib/rand.ts';
import type { Hub } from '../shimlink/hub.ts';
import { Pollable } from '../shimlink/poller.ts';
import { AF_INET, AF_INET6 } from '../shimlink/proto.ts';
import { SockAddr } from '../shimlink/sockaddr.ts';
import { type DatagramInfo, type DatagramOwner, DatagramSpec } from '../stack/port.ts';
import type { UdpEndpoint } from '../stack/udp-endpoint.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpOwner } from '../tcp/port.ts';
import { type ProbeQuestion, type ProbeResult, type ProbeTalk, talkOf, type Verdict } from '../uplink/probe.ts';
import type { Pings } from './dataplane-ping.ts';
import { errnoText } from './host-socket.ts';

type Done = (result: ProbeResult) => void;

export class DataplaneProbes {
  readonly #hub: Hub;
  readonly #pings: Pings;
  readonly #random: Random;

  constructor(hub: Hub, pings: Pings, random: Random) {
    this.#hub = hub;
    this.#pings = pings;
    this.#random = random;
  }

  /**
   * Ask `to` through a link.
   * @param done called once at most, perhaps before this returns; not at all when nobody answers
   * @returns to be called when the answer is not waited for any more
   */
  send(link: number, question: ProbeQuestion, to: Addr, done: Done): () => void {
    if (question.kind === 'icmp') {
      this.#pings.send({ to, link }, (rttUs, errno) => {
        done(rttUs === undefined ? unsent(errno) : { rttMs: rttUs / 1000 });
      });
      return () => undefined; // it forgets the oldest by itself
    }
    const talk = talkOf(question, to, this.#random.int32());
    const remote = new SockAddr().set(
      to.family === 4 ? AF_INET : AF_INET6,
      to.a0,
      to.a1,
      to.a2,
      to.a3,
      talk.port,
      to.family === 6 && to.isLinkLocal ? link : 0,
    );
    const probe =
      talk.transport === 'stream' ? new StreamProbe(this.#hub, talk, done) : new DatagramProbe(this.#hub, talk, done);
    probe.start(remote, link);
    return () => probe.cancel();
  }
}

function unsent(errno: number): ProbeResult {
  return { reason: errnoText(errno) };
}

/** One conversation and how long it takes: told once, then everything is given back at the end of the vector. */
abstract class TalkProbe extends Pollable {
  protected readonly hub: Hub;
  protected readonly talk: ProbeTalk;
  readonly #tick: Tick;
  readonly #sentUs: number;
  #done: Done | undefined;

  constructor(hub: Hub, talk: ProbeTalk, done: Done) {
    super();
    this.hub = hub;
    this.talk = talk;
    this.#tick = hub.tick;
    this.#sentUs = hub.tick.us;
    this.#done = done;
  }

  abstract start(to: SockAddr, link: number): void;

  protected abstract close(): void;

  cancel(): void {
    this.#done = undefined;
    this.close();
  }

  protected get isOver(): boolean {
    return this.#done === undefined;
  }

  protected answer(verdict: Verdict | undefined): void {
    if (verdict === undefined) return;
    this.tell(verdict.isGood ? { rttMs: ((this.#tick.us - this.#sentUs) | 0) / 1000 } : { reason: verdict.reason });
  }

  protected tell(result: ProbeResult): void {
    const done = this.#done;
    this.#done = undefined;
    // Endpoints are not closed while they deliver.
    this.hub.poller.ready(this);
    done?.(result);
  }

  override onEvents(): void {}
}

class DatagramProbe extends TalkProbe implements DatagramOwner<UdpEndpoint> {
  #endpoint: UdpEndpoint | undefined;

  start(to: SockAddr, link: number): void {
    const { hub, talk } = this;
    const vrf = hub.stack.links.byIndex(link)?.vrf ?? 0;
    const e = hub.stack.udp.open(vrf, to.isV4 ? 4 : 6, this);
    this.#endpoint = e;
    e.setDevice(link);
    hub.world.u8.set(talk.request, hub.relayAt);
    const unconnected = e.connect(to.a0, to.a1, to.a2, to.a3, to.scope, to.port);
    const errno = unconnected !== 0 ? unconnected : e.send(new DatagramSpec(), hub.relayAt, talk.request.length);
    if (errno !== 0) this.tell(unsent(errno));
  }

  deliver(_e: UdpEndpoint, _info: DatagramInfo, at: number, length: number): void {
    if (!this.isOver) this.answer(this.talk.hear(this.hub.world.u8.slice(at, at + length)));
  }

  error(_e: UdpEndpoint, errno: number): void {
    if (!this.isOver) this.tell(unsent(errno));
  }

  override onReady(): void {
    this.close();
  }

  protected close(): void {
    this.#endpoint?.close();
    this.#endpoint = undefined;
  }
}

class StreamProbe extends TalkProbe implements TcpOwner<TcpConnection> {
  #connection: TcpConnection | undefined;
  #release: (() => void) | undefined;

  start(to: SockAddr, link: number): void {
    const opened = this.hub.connectTcp(to, this, link);
    if (typeof opened === 'number') {
      this.tell(unsent(opened));
      return;
    }
    this.#connection = opened.connection;
    this.#release = opened.release;
  }

  established(): void {
    if (this.talk.request.length === 0) this.answer({ isGood: true });
    else this.hub.poller.ready(this);
  }

  /** The connection stands and the request is to be sent, or all is said. */
  override onReady(): void {
    if (this.isOver) {
      this.close();
      return;
    }
    const { world, relayAt } = this.hub;
    world.u8.set(this.talk.request, relayAt);
    this.#connection?.write(relayAt, this.talk.request.length);
  }

  deliver(_c: TcpConnection, at: number, length: number): number {
    if (!this.isOver) this.answer(this.talk.hear(this.hub.world.u8.slice(at, at + length)));
    return length;
  }

  peerFinished(): void {
    if (!this.isOver) this.tell({ reason: 'the connection ended without an answer' });
  }

  sendSpace(): void {}

  closed(_c: TcpConnection, errno: number): void {
    this.#connection = undefined;
    if (!this.isOver) this.tell(unsent(errno));
  }

  /** A reset leaves no state behind at either end: probes are many. */
  protected close(): void {
    this.#connection?.abort();
    this.#connection = undefined;
    this.#release?.();
    this.#release = undefined;
  }
}
