/**
 * Where apps' TCP connections to the host's name servers end: a listener of our own stack at an address that nobody else has,
 * whose messages go to the forwarder. What apps send by UDP is handed to it without a packet (udp-socket.ts).
 */
import { PortBinding } from '../stack/ports.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpListener } from '../tcp/listener.ts';
import type { TcpAcceptor, TcpOwner } from '../tcp/port.ts';
import { framed, Reassembly } from './dns-stream.ts';
import { DNS_PORT, FORWARDER_4, FORWARDER_6, type Hub } from './hub.ts';
import { Pollable } from './poller.ts';
import type { SockAddr } from './sockaddr.ts';

const BACKLOG = 64;
/** Questions of one connection that are not answered yet; what follows waits in it. */
const MAX_ASKED = 64;

export class DnsDoor extends Pollable implements TcpAcceptor<TcpListener> {
  readonly #hub: Hub;
  readonly #listener: TcpListener;

  private constructor(hub: Hub, binding: PortBinding<TcpListener>) {
    super();
    this.#hub = hub;
    this.#listener = hub.listenTcp(binding, BACKLOG, this, { noDelay: true });
  }

  /** Open the doors of both families; the loopback link has to have their addresses. */
  static open(hub: Hub): void {
    for (const at of [FORWARDER_4, FORWARDER_6]) DnsDoor.#openAt(hub, at);
  }

  static #openAt(hub: Hub, at: SockAddr): void {
    const { tcpPorts } = hub.stack;
    const binding = new PortBinding<TcpListener>(0, at.isV4 ? 4 : 6);
    binding.setLocal(at.a0, at.a1, at.a2, at.a3);
    binding.device = at.scope;
    if (tcpPorts.bind(binding, DNS_PORT) === 0 && tcpPorts.listen(binding) === 0) new DnsDoor(hub, binding);
  }

  acceptable(): void {
    this.#hub.poller.ready(this);
  }

  override onEvents(): void {}

  override onReady(): void {
    while (this.#listener.waiting > 0) {
      const client = new DnsClient(this.#hub);
      const c = this.#listener.accept(client);
      if (c === undefined) return;
      client.begin(c);
    }
  }
}

/** One connection of an app. */
class DnsClient extends Pollable implements TcpOwner<TcpConnection> {
  readonly #hub: Hub;
  readonly #queries = new Reassembly();
  #connection: TcpConnection | undefined;
  #pid = 0;
  #asked = 0;
  #hasFinished = false;
  /** Answers that did not fit into the connection yet. */
  readonly #answers: Uint8Array[] = [];

  constructor(hub: Hub) {
    super();
    this.#hub = hub;
  }

  begin(c: TcpConnection): void {
    this.#connection = c;
    for (const s of this.#hub.sockets.values())
      if (s.local.port === c.remotePort && s.remote.port === DNS_PORT) this.#pid = s.pid;
    c.pull();
  }

  established(): void {}

  deliver(_c: TcpConnection, at: number, length: number): number {
    if (this.#asked >= MAX_ASKED) return 0;
    for (const query of this.#queries.take(this.#hub.world.u8.slice(at, at + length))) {
      this.#asked++;
      this.#hub.dns?.forward(this.#pid, query.slice(), true, (answer) => this.#answered(answer));
    }
    return length;
  }

  #answered(answer: Uint8Array): void {
    this.#asked--;
    this.#answers.push(framed(answer));
    this.#hub.poller.ready(this);
  }

  /** Outside of the connection's calls: send answers, take more questions, end after the last. */
  override onReady(): void {
    const c = this.#connection;
    if (c === undefined) return;
    this.#flush(c);
    if (this.#connection !== undefined && this.#asked < MAX_ASKED) c.pull();
    if (this.#hasFinished && this.#asked === 0 && this.#answers.length === 0) {
      this.#connection?.close();
      this.#connection = undefined;
    }
  }

  #flush(c: TcpConnection): void {
    const { world, relayAt } = this.#hub;
    for (let next = this.#answers[0]; next !== undefined; next = this.#answers[0]) {
      const part = next.subarray(0, 65536);
      world.u8.set(part, relayAt);
      const n = c.write(relayAt, part.length);
      if (n < next.length) this.#answers[0] = next.subarray(n);
      else this.#answers.shift();
      if (n < part.length) return; // sendSpace comes
    }
  }

  override onEvents(): void {}

  peerFinished(): void {
    this.#hasFinished = true;
    this.#hub.poller.ready(this);
  }

  sendSpace(): void {
    this.#hub.poller.ready(this);
  }

  closed(): void {
    this.#connection = undefined;
  }
}
