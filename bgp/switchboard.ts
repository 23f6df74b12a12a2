/**
 * Joins the transport's streams to the peers' sessions: octets in, octets out, connections opened, accepted and closed.
 * Read first: bgp/ports.ts, bgp/fsm/session.ts. Does not know routes; what sessions say about those goes to its host.
 */

import type { Addr } from '../router/lib/addr.ts';
import { Prefix } from '../router/lib/addr.ts';
import type { Clock } from '../router/lib/clock.ts';
import type { SessionAction } from './fsm/session.ts';
import type { Conduit, Peer } from './peer.ts';
import type { LinkId, PeerSecurity, Stream, StreamHandler, Transport } from './ports.ts';

/** What a session wants that is no business of the transport. */
export type PeerAction = Exclude<SessionAction, { readonly kind: 'connect' | 'send' | 'close' }>;

export interface SwitchboardHost {
  /** The peer that may connect from there, undefined when nobody is expected. */
  expected(remote: Addr, link: LinkId): Peer | undefined;
  perform(peer: Peer, action: PeerAction): void;
  /** Input has been handled: what it caused may be done. */
  settled(peer: Peer): void;
  onActivity(): void;
}

export class Switchboard {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #host: SwitchboardHost;
  #transports = 0;

  constructor(transport: Transport, clock: Clock, host: SwitchboardHost) {
    this.#transport = transport;
    this.#clock = clock;
    this.#host = host;
  }

  /** A number for a connection, unique among the sessions of a speaker. */
  nextTransport(): number {
    return ++this.#transports;
  }

  listen(): void {
    this.#transport.listen((stream, remote, link) => this.#onInbound(stream, remote, link));
  }

  /** Tell the transport whom to expect: peers, and who may become one. */
  secure(peers: Iterable<Peer>, others: readonly PeerSecurity[]): void {
    this.#transport.secure?.([...[...peers].map(securityOf), ...others]);
  }

  /** Perform what a session asks for. */
  pump(peer: Peer): void {
    for (let a = peer.session.poll(); a !== undefined; a = peer.session.poll()) this.#perform(peer, a);
  }

  #perform(peer: Peer, action: SessionAction): void {
    switch (action.kind) {
      case 'connect':
        this.#connect(peer, action.transport);
        break;
      case 'send': {
        const stream = peer.conduits.get(action.transport)?.stream;
        if (stream === undefined || stream.write(action.octets)) break;
        peer.isCongested = true;
        peer.session.handle({ kind: 'congested', transport: action.transport }, this.#clock.now());
        break;
      }
      case 'close': {
        const conduit = peer.conduits.get(action.transport);
        peer.conduits.delete(action.transport);
        conduit?.attempt?.abort();
        conduit?.stream?.close(action.abort);
        break;
      }
      default:
        this.#host.perform(peer, action);
        break;
    }
  }

  #onInbound(stream: Stream, remote: Addr, link: LinkId): StreamHandler | undefined {
    const peer = this.#host.expected(remote, link);
    if (peer === undefined) return undefined;
    const transport = this.nextTransport();
    peer.conduits.set(transport, { attempt: undefined, stream });
    peer.session.handle({ kind: 'accepted', transport }, this.#clock.now());
    this.pump(peer);
    this.#host.onActivity();
    return this.#handler(peer, transport);
  }

  #handler(peer: Peer, transport: number): StreamHandler {
    const isLive = (): boolean => peer.conduits.has(transport);
    return {
      data: (octets) => {
        if (!isLive()) return;
        peer.session.handle({ kind: 'octets', transport, octets }, this.#clock.now());
        this.pump(peer);
        this.#host.settled(peer);
      },
      drained: () => {
        if (!isLive()) return;
        peer.isCongested = false;
        peer.session.handle({ kind: 'drained', transport }, this.#clock.now());
        // Many streams may drain in one turn: what can be told now follows in the next `tick`, for all of them together.
        this.#host.onActivity();
      },
      closed: (reason) => {
        if (peer.conduits.delete(transport)) this.#closed(peer, transport, reason);
      },
    };
  }

  #closed(peer: Peer, transport: number, reason: string): void {
    peer.session.handle({ kind: 'closed', transport, reason }, this.#clock.now());
    this.pump(peer);
    this.#host.settled(peer);
  }

  #connect(peer: Peer, transport: number): void {
    const { address, port, localAddress } = peer.config;
    const { from: _, ...security } = securityOf(peer);
    const conduit: Conduit = { attempt: undefined, stream: undefined };
    peer.conduits.set(transport, conduit);
    conduit.attempt = this.#transport.connect(
      { ...security, address, port: port ?? 179, localAddress },
      (stream) => {
        conduit.attempt = undefined;
        conduit.stream = stream;
        peer.session.handle({ kind: 'connected', transport }, this.#clock.now());
        this.pump(peer);
        this.#host.onActivity();
        return this.#handler(peer, transport);
      },
      (reason) => {
        if (peer.conduits.delete(transport)) this.#closed(peer, transport, reason);
      },
    );
  }
}

function securityOf(peer: Peer): PeerSecurity {
  const { name, link, address, ttlSecurity, password } = peer.config;
  const from = Prefix.containing(address, address.family === 4 ? 32 : 128)!;
  return { name, link, from, hops: peer.hops, ttlSecurity: ttlSecurity ?? false, password };
}
