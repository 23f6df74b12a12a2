/**
 * The routing worker's streams of our own stack: what it asks for goes on to the data plane, and what comes of it back. A
 * listener has a number on either side. Runs on the main thread, which sees descriptors pass and none of their octets.
 */
import type { Logger } from '../lib/log.ts';
import type { DataplaneClient } from './dataplane-client.ts';
import type { FromDataplane } from './dataplane-protocol.ts';
import type { RoutingClient, RoutingEvent } from './routing-client.ts';

/** What the routing worker asks about streams. */
export type StreamAsk = Extract<RoutingEvent, { readonly kind: `stream-${string}` }>;
/** A routing worker. */
export type Asker = Pick<RoutingClient, 'send'>;

export interface RoutingStreamsOptions {
  readonly dataplane: Pick<DataplaneClient, 'request' | 'send'>;
  /** The worker that serves now. */
  readonly routing: () => Asker;
  readonly closeFd: (fd: number) => void;
  readonly log: Logger;
}

export class RoutingStreams {
  readonly #o: RoutingStreamsOptions;
  /** Listening ids of the data plane, by the routing worker's. */
  readonly #listens = new Map<number, number>();

  constructor(o: RoutingStreamsOptions) {
    this.#o = o;
  }

  /** @param asker the worker that asks: answers go nowhere else */
  ask(e: StreamAsk, asker: Asker): void {
    switch (e.kind) {
      case 'stream-connect':
        this.#connect(e, asker);
        break;
      case 'stream-listen':
        this.#listen(e);
        break;
      case 'stream-secure': {
        const listen = this.#listens.get(e.listen);
        if (listen !== undefined) this.#o.dataplane.send({ kind: 'stream-secure', listen, terms: e.terms });
        break;
      }
      case 'stream-unlisten': {
        const listen = this.#listens.get(e.listen);
        this.#listens.delete(e.listen);
        if (listen !== undefined) this.#unlisten(listen);
        break;
      }
    }
  }

  /** A peer has connected. */
  accepted(e: Extract<FromDataplane, { readonly kind: 'accepted' }>): void {
    const listen = [...this.#listens].find(([, dataplane]) => dataplane === e.listen)?.[0];
    if (listen === undefined) {
      this.#o.closeFd(e.fd);
      return;
    }
    const { fd, remote, local, link } = e;
    this.#o.routing().send({ kind: 'stream-accepted', listen, fd, remote, local, link });
  }

  /** The worker has ended: nobody has what it listened with, and its successor asks for its own. */
  restarted(): void {
    for (const listen of this.#listens.values()) this.#unlisten(listen);
    this.#listens.clear();
  }

  #connect({ id, vrf, target }: Extract<StreamAsk, { readonly kind: 'stream-connect' }>, asker: Asker): void {
    const { remote, port, local, link, security } = target;
    const { reply } = this.#o.dataplane.request({
      kind: 'stream-connect',
      vrf,
      remote,
      port,
      ...(local !== undefined && { local }),
      ...(link !== undefined && { link }),
      security,
    });
    void reply.then(({ result, errno }) => {
      const fd = (result as { fd?: number } | undefined)?.fd ?? -1;
      if (asker === this.#o.routing()) asker.send({ kind: 'stream-opened', id, fd, errno });
      else if (fd >= 0) this.#o.closeFd(fd); // who asked for it is gone
    });
  }

  #listen({ id: asked, vrf, port, terms }: Extract<StreamAsk, { readonly kind: 'stream-listen' }>): void {
    const { id, reply } = this.#o.dataplane.request({ kind: 'stream-listen', vrf, port, terms });
    this.#listens.set(asked, id);
    void reply.then(({ errno }) => {
      if (errno !== 0) this.#o.log.error('cannot listen', { port, errno });
    });
  }

  #unlisten(listen: number): void {
    this.#o.dataplane.send({ kind: 'stream-unlisten', listen });
  }
}
