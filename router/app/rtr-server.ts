/** Gives an RTR client (bgp/rpki/rtr.ts) a connection, over the host's sockets or our own stack's, and loads what it gathers. */
import { Socket } from 'node:net';
import type { Attempt, Stream, StreamHandler, Transport } from '../../bgp/ports.ts';
import type { VrpLoader } from '../../bgp/rpki/loader.ts';
import type { RoaSource, VrpUpdate } from '../../bgp/rpki/roa-table.ts';
import { RtrClient, type RtrEvent } from '../../bgp/rpki/rtr.ts';
import { RTR_ERROR_TEXT, RtrError } from '../../bgp/rpki/rtr-pdu.ts';
import { VrpList } from '../../bgp/rpki/vrp.ts';
import type { RtrServerConfig } from '../config/rpki.ts';
import { Addr } from '../lib/addr.ts';
import { systemClock } from '../lib/clock.ts';
import { systemReason } from '../lib/reason.ts';
import { BY_ROUTING } from './bgp-peers.ts';
import { streamOf } from './bgp-transport.ts';
import { attach } from './fair-reads.ts';

/** The path to a cache may be long. */
const ANY_HOPS = 255;

export class RtrServer {
  readonly config: RtrServerConfig;
  readonly source: RoaSource;
  readonly client: RtrClient;
  readonly #loader: VrpLoader;
  /** Our own stack's sockets. */
  readonly #stack: Transport;
  readonly #changed: () => void;
  #attempt: Attempt | undefined;
  #stream: Stream | undefined;
  /** Connections made so far: what an old one still says is not listened to. */
  #generation = 0;

  /** @param changed called whenever the client's state may be another */
  constructor(
    config: RtrServerConfig,
    source: RoaSource,
    loader: VrpLoader,
    stack: Transport,
    random: () => number,
    changed: () => void,
  ) {
    this.config = config;
    this.source = source;
    this.#loader = loader;
    this.#stack = stack;
    this.#changed = changed;
    this.client = new RtrClient(config, random);
  }

  get isRunning(): boolean {
    return this.client.state !== 'stopped';
  }

  start(): void {
    this.#handle({ kind: 'start' });
  }

  /** Its ROAs leave the table. */
  stop(): void {
    this.#handle({ kind: 'stop' });
    this.#loader.replace(this.source, new VrpList());
    this.#changed();
  }

  refresh(): void {
    this.#handle({ kind: 'refresh' });
  }

  tick(): void {
    this.client.tick(systemClock.now());
    this.#pump();
  }

  #handle(event: RtrEvent): void {
    this.client.handle(event, systemClock.now());
    this.#pump();
  }

  #pump(): void {
    for (let a = this.client.poll(); a !== undefined; a = this.client.poll()) {
      switch (a.kind) {
        case 'connect':
          this.#connect();
          break;
        case 'close':
          this.#close();
          break;
        case 'send':
          this.#stream?.write(a.octets);
          break;
        case 'load':
          if (a.isFull) this.#loader.replace(this.source, a.list, () => this.#handle({ kind: 'loaded' }));
          else this.#loader.update(this.source, a.list, (update) => this.#updated(update));
          break;
        case 'expired':
          this.#loader.replace(this.source, new VrpList());
          break;
      }
    }
    this.#changed();
  }

  /** RFC 8210 §12: a cache that contradicts itself is asked for everything again. */
  #updated(update: VrpUpdate): void {
    const code =
      update.unknownWithdrawals > 0
        ? RtrError.WithdrawalOfUnknown
        : update.duplicates > 0
          ? RtrError.DuplicateAnnouncement
          : undefined;
    if (code === undefined) this.#handle({ kind: 'loaded' });
    else this.#handle({ kind: 'refused', code, words: RTR_ERROR_TEXT[code]! });
  }

  #connect(): void {
    const generation = ++this.#generation;
    const isCurrent = (): boolean => generation === this.#generation;
    const opened = (stream: Stream): StreamHandler => {
      this.#attempt = undefined;
      this.#stream = stream;
      this.#handle({ kind: 'opened' });
      return {
        data: (octets) => {
          if (isCurrent()) this.#handle({ kind: 'octets', octets });
        },
        drained: () => undefined,
        closed: (reason) => {
          if (isCurrent()) this.#handle({ kind: 'closed', reason });
        },
      };
    };
    const failed = (reason: string): void => {
      if (isCurrent()) this.#handle({ kind: 'closed', reason });
    };
    const { name, host, port, via, routed } = this.config;
    if (via === undefined && !routed) {
      this.#attempt = connectHost(host, port, opened, failed);
      return;
    }
    this.#attempt = this.#stack.connect(
      {
        name,
        link: via ?? BY_ROUTING,
        address: Addr.parse(host)!,
        port,
        localAddress: undefined,
        hops: ANY_HOPS,
        ttlSecurity: false,
        password: undefined,
      },
      opened,
      failed,
    );
  }

  #close(): void {
    this.#generation++;
    this.#attempt?.abort();
    this.#attempt = undefined;
    this.#stream?.close(false);
    this.#stream = undefined;
  }
}

/** A connection over the host's network; names are the host's resolver's. */
function connectHost(
  host: string,
  port: number,
  opened: (stream: Stream) => StreamHandler,
  failed: (reason: string) => void,
): Attempt {
  const socket = new Socket();
  const onError = (e: NodeJS.ErrnoException): void => failed(systemReason(e));
  socket.once('error', onError);
  socket.connect({ host, port }, () => {
    socket.off('error', onError);
    attach(socket, opened(streamOf(socket, undefined)));
  });
  return {
    abort: () => {
      socket.off('error', onError);
      socket.on('error', () => undefined);
      socket.destroy();
    },
  };
}
