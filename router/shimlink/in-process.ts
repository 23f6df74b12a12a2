/**
 * Streams of our own stack for the other threads of the daemon (BGP): the same sockets as an app's, whose other end is
 * a descriptor of this process, to be wrapped by a net.Socket. No gate: the descriptor is only told once connected.
 */
import { SOCK_STREAM } from '../native/index.ts';
import { PortBinding } from '../stack/ports.ts';
import type { TcpListener } from '../tcp/listener.ts';
import type { FlowKey, TcpAcceptor } from '../tcp/port.ts';
import type { PeerTerms, TcpSettings } from '../tcp/settings.ts';
import type { Hub } from './hub.ts';
import { Option } from './option-table.ts';
import { Pollable } from './poller.ts';
import { AF_INET, AF_INET6, E } from './proto.ts';
import type { SockAddr } from './sockaddr.ts';
import { StreamSocket } from './stream.ts';

const BACKLOG = 64;

export class InProcessStream extends StreamSocket {
  /** The other end, -1 once it was told or closed. */
  #otherFd = -1;
  readonly #done: (fd: number, errno: number) => void;
  readonly #terms: PeerTerms;

  /** @param done told once: the descriptor, or an errno */
  constructor(hub: Hub, family: number, pid: number, done: (fd: number, errno: number) => void, terms: PeerTerms = {}) {
    super(hub, family, hub.nextId(), pid);
    this.#done = done;
    this.#terms = terms;
  }

  override settings(): TcpSettings {
    return { ...super.settings(), ...this.#terms };
  }

  /** The link its packets leave by. */
  get linkName(): string | undefined {
    return this.connection?.link?.name;
  }

  /** Make the pair, its first lag octet included. @returns false when descriptors ran out */
  makePair(): boolean {
    const { hub } = this;
    const { native, area, world } = hub;
    if (native.makePair(SOCK_STREAM, 1, area.nameAt, 0, area.pairAt) < 0) return false;
    this.#otherFd = world.i32[(area.pairAt >> 2) + 1]!;
    native.send(this.#otherFd, hub.sinkAt, 1);
    hub.add(this);
    return this.open(world.i32[area.pairAt >> 2]!) === 0;
  }

  /** Open a connection to `to`, from `local` if given. Rules are for apps: ours go where routes or the configuration send them. */
  start(to: SockAddr, local: SockAddr | undefined): void {
    if (local !== undefined) {
      this.local.copy(local);
      this.local.port = 0;
      this.hasLocalAddress = true;
    }
    const failed = this.makePair() ? this.startConnect(to, 0) : E.EMFILE;
    if (failed !== 0) {
      this.failed(failed);
      return;
    }
    this.remote.copy(to);
    this.markConnecting();
  }

  protected override opened(): void {
    const fd = this.#otherFd;
    this.#otherFd = -1;
    this.#done(fd, 0);
  }

  protected override failed(errno: number): void {
    if (this.#otherFd >= 0) this.hub.native.close(this.#otherFd);
    this.#otherFd = -1;
    super.failed(errno);
    this.#done(-1, errno);
  }

  /** For a connection that a listener accepted: tell the descriptor. */
  tell(): void {
    this.opened();
  }
}

export interface Accepted {
  readonly fd: number;
  readonly stream: InProcessStream;
}

/** A listening port whose connections are told one by one. */
export class InProcessListener extends Pollable implements TcpAcceptor<TcpListener> {
  readonly #hub: Hub;
  readonly #pid: number;
  readonly #binding: PortBinding<TcpListener>;
  readonly #listener: TcpListener;
  readonly #accepted: (accepted: Accepted) => void;

  private constructor(
    hub: Hub,
    pid: number,
    binding: PortBinding<TcpListener>,
    accepted: (accepted: Accepted) => void,
  ) {
    super();
    this.#hub = hub;
    this.#pid = pid;
    this.#binding = binding;
    this.#accepted = accepted;
    this.#listener = hub.listenTcp(binding, BACKLOG, this, {});
  }

  /** @param local undefined = every address of both families. @returns the listener or an errno (positive) */
  static open(
    hub: Hub,
    pid: number,
    vrf: number,
    local: SockAddr | undefined,
    port: number,
    accepted: (accepted: Accepted) => void,
  ): InProcessListener | number {
    const binding = new PortBinding<TcpListener>(vrf, local?.isV4 ? 4 : 6);
    if (local !== undefined) {
      binding.setLocal(local.a0, local.a1, local.a2, local.a3);
      binding.device = local.scope;
    }
    binding.reuseAddr = true;
    const { tcpPorts } = hub.stack;
    const taken = tcpPorts.bind(binding, port);
    if (taken !== 0) return taken;
    const busy = tcpPorts.listen(binding);
    if (busy !== 0) {
      tcpPorts.release(binding);
      return busy;
    }
    return new InProcessListener(hub, pid, binding, accepted);
  }

  /** What is asked of remotes from now on; undefined = nothing of anybody. */
  setTerms(termsFor: ((flow: FlowKey) => PeerTerms | undefined) | undefined): void {
    this.#listener.termsFor = termsFor;
  }

  acceptable(): void {
    this.#hub.poller.ready(this);
  }

  override onEvents(): void {}

  override onReady(): void {
    while (this.#listener.waiting > 0) {
      const hub = this.#hub;
      const stream = new InProcessStream(hub, AF_INET6, this.#pid, (fd) => this.#accepted({ fd, stream }));
      const c = this.#listener.accept(stream);
      if (c === undefined) return;
      if (!stream.makePair()) {
        c.abort();
        continue;
      }
      stream.adopt(c, this.#binding.vrf);
      stream.tell();
      c.pull();
    }
  }

  close(): void {
    this.#hub.unlistenTcp(this.#binding, this.#listener);
    this.#hub.stack.tcpPorts.release(this.#binding);
  }
}

/** What a thread asks for with `stream-connect`. */
export interface StreamOrder {
  readonly vrf: number;
  readonly remote: SockAddr;
  readonly local: SockAddr | undefined;
  readonly tos: number | undefined;
  readonly terms: PeerTerms;
}

export function openInProcess(hub: Hub, pid: number, o: StreamOrder, done: (fd: number, errno: number) => void): void {
  const isV4 = o.remote.isV4;
  const s = new InProcessStream(hub, isV4 ? AF_INET : AF_INET6, pid, done, o.terms);
  s.vrf = o.vrf;
  if (o.tos !== undefined) s.options.setNumber(isV4 ? Option.IpTos : Option.V6TrafficClass, o.tos);
  s.options.setNumber(Option.NoDelay, 1);
  s.start(o.remote, o.local);
}
