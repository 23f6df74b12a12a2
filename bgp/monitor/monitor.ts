/**
 * What passes between a speaker and its peers, for those who only listen: BMP stations and MRT files.
 * Nothing here changes a session, and without a monitor nothing here costs anything.
 */

import type { Addr } from '../../router/lib/addr.ts';
import type { Negotiated } from '../fsm/negotiate.ts';
import type { SessionEnd } from '../fsm/session.ts';
import { beginMessage, encodeOpen, endMessage, HEADER_OCTETS, MessageType } from '../wire/message.ts';
import { OctetWriter } from '../wire/octets.ts';

/** An established session. */
export interface MonitoredSession {
  /** Name of the peer. */
  readonly peer: string;
  readonly address: Addr;
  readonly port: number;
  /** Our end; undefined when the transport does not know it. */
  readonly local: Addr | undefined;
  readonly negotiated: Negotiated;
  /** Whole messages. */
  readonly sentOpen: Uint8Array;
  readonly receivedOpen: Uint8Array;
}

export interface Monitor {
  up(session: MonitoredSession): void;
  down(session: MonitoredSession, end: SessionEnd): void;
  /** An UPDATE came, whatever becomes of it. @param update the whole message; it must not be changed */
  received(session: MonitoredSession, update: Uint8Array): void;
}

export function monitoredSession(
  peer: { readonly name: string; readonly address: Addr; readonly port: number },
  local: Addr | undefined,
  negotiated: Negotiated,
): MonitoredSession {
  return {
    peer: peer.name,
    address: peer.address,
    port: peer.port,
    local,
    negotiated,
    sentOpen: encodeOpen(negotiated.local),
    receivedOpen: wholeOf(MessageType.Open, negotiated.peerOctets),
  };
}

/** A whole message again from its body. */
function wholeOf(type: number, body: Uint8Array): Uint8Array {
  const w = new OctetWriter(HEADER_OCTETS + body.length);
  const start = beginMessage(w, type);
  w.put(body);
  endMessage(w, start);
  return w.bytes;
}

/** Several monitors as one; `received` takes the message without its header. */
export class Monitors {
  readonly #all = new Set<Monitor>();

  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  /** @returns takes the monitor away again */
  add(monitor: Monitor): () => void {
    this.#all.add(monitor);
    return () => this.#all.delete(monitor);
  }

  up(session: MonitoredSession): void {
    for (const m of this.#all) m.up(session);
  }

  down(session: MonitoredSession, end: SessionEnd): void {
    for (const m of this.#all) m.down(session, end);
  }

  received(session: MonitoredSession, body: Uint8Array): void {
    if (this.#all.size === 0) return;
    const update = wholeOf(MessageType.Update, body);
    for (const m of this.#all) m.received(session, update);
  }
}
