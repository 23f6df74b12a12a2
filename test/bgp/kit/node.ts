/** A speaker of ours over loopback sockets that can be cut off, restarted and asked, for interoperability tests. */
import { eachRoute, type PeerConfig, type Restarting, Speaker, type SpeakerOptions } from '../../../bgp/speaker.ts';
import type { KernelTransport } from '../../../router/app/kernel-transport.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { driveByClock, hostTransport } from './loopback.ts';

export const OUR_AS = 4242420001;
export const THEIR_AS = 4242420002;
/** 127/8 next hops are martians (RFC 4271 §6.3), so both sides announce other addresses as their next hop. */
export const OUR_HOP = { nextHop4: Addr.parse('10.9.9.1')!, nextHop6: Addr.parse('fd00:9::1')! };

export interface NodeOptions {
  readonly port: number;
  readonly local?: string;
  readonly networks?: readonly string[];
  readonly speaker?: Partial<SpeakerOptions>;
  readonly peers: readonly (Pick<PeerConfig, 'name' | 'address' | 'port'> & Partial<PeerConfig>)[];
}

export class Node {
  readonly fib = new Map<string, string>();
  /** Prefixes that had no route for a moment. */
  readonly gaps: string[] = [];
  settlements = 0;
  readonly #options: NodeOptions;
  #speaker: Speaker | undefined;
  #transport: KernelTransport | undefined;
  #stopDriving: () => void = () => {};
  /** Prefixes from before a restart that were not told again. */
  readonly #old = new Set<string>();

  constructor(options: NodeOptions) {
    this.#options = options;
  }

  get speaker(): Speaker {
    return this.#speaker!;
  }

  session(name: string) {
    return this.speaker.snapshot().find((p) => p.name === name);
  }

  async start(restarting?: Restarting): Promise<void> {
    const { port, local = '127.0.0.1', networks = ['172.20.229.0/27', 'fd42:beef::/48'], peers } = this.#options;
    for (const prefix of this.fib.keys()) this.#old.add(prefix);
    const transport = hostTransport(local, port);
    this.#transport = transport;
    const speaker = new Speaker({
      asn: OUR_AS,
      routerId: Addr.parse('10.0.0.1')!,
      clock: systemClock,
      random: Math.random,
      transport,
      sink: {
        ...eachRoute(({ prefix, way }) => {
          const key = prefix.toString();
          this.#old.delete(key);
          if (way !== undefined) this.fib.set(key, way.nextHops.map((h) => String(h.address)).join(', '));
          else if (this.fib.delete(key)) this.gaps.push(key);
        }),
        settled: () => {
          this.settlements++;
          for (const prefix of this.#old) this.fib.delete(prefix);
          this.#old.clear();
        },
      },
      resolver: { isUp: () => true, subscribe: () => {} },
      networks: networks.map((n) => ({ prefix: Prefix.parse(n)! })),
      ...(restarting !== undefined && { restarting }),
      ...this.#options.speaker,
    });
    this.#speaker = speaker;
    for (const peer of peers) {
      speaker.addPeer({
        link: 'lo',
        asn: THEIR_AS,
        multihop: true,
        import: 'accept-all',
        export: 'accept-all',
        connectRetryMs: 200,
        ...OUR_HOP,
        ...peer,
      });
    }
    this.#stopDriving = driveByClock(speaker);
    speaker.start();
    await transport.listening();
  }

  /** All sessions are gone without a word; the FIB stays. */
  async crash(): Promise<void> {
    this.speaker.abandon();
    this.#stopDriving();
    await this.#transport!.close();
  }

  async stop(): Promise<void> {
    this.#speaker?.shutdown('test over');
    this.#stopDriving();
    await this.#transport?.close();
  }
}
