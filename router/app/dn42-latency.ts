/**
 * Measures the latency to peers whose policy tells it (bgp/policy/dn42-latency.ts): an echo request to the neighbour through
 * its uplink every few seconds while the uplink is up. Runs in the routing worker.
 */
import { LatencyMeter } from '../../bgp/policy/dn42-latency.ts';
import { type BgpPeerConfig, followsDn42 } from '../config/bgp-model.ts';
import { systemClock } from '../lib/clock.ts';

/** Asks for one round trip; answers come to `Dn42Latency.answered`. */
export type PingPort = (id: number, remote: string, link: string) => void;

const EVERY_MS = 10_000;
/** The first value is told soon: a session that has just begun should not wait for it. */
const FIRST_EVERY_MS = 500;

interface Measured {
  readonly peer: BgpPeerConfig;
  readonly windowS: number;
  readonly meter: LatencyMeter;
  timer: NodeJS.Timeout | undefined;
}

export class Dn42Latency {
  readonly #peers = new Map<string, Measured>();
  readonly #asked = new Map<number, Measured>();
  readonly #port: PingPort;
  readonly #changed: (peer: BgpPeerConfig, latency: number) => void;
  readonly #up = new Set<string>();
  #nextId = 1;

  /** @param changed told when the latency community of a peer's link is another */
  constructor(port: PingPort, changed: (peer: BgpPeerConfig, latency: number) => void) {
    this.#port = port;
    this.#changed = changed;
  }

  /** Measure the links of these peers from now on; what is known of one that stays is kept. */
  setPeers(peers: readonly BgpPeerConfig[], windowS: number): void {
    const before = new Map(this.#peers);
    for (const m of before.values()) clearTimeout(m.timer);
    this.#peers.clear();
    for (const peer of peers) {
      const tells = followsDn42(peer.importPolicy) || followsDn42(peer.exportPolicy);
      if (!tells || peer.dn42.latency !== 'measured' || peer.via === undefined) continue;
      const known = before.get(peer.name);
      const isSame =
        known?.windowS === windowS && known.peer.via === peer.via && known.peer.address.equals(peer.address);
      const meter = isSame ? known.meter : new LatencyMeter(windowS);
      const m: Measured = { peer, windowS, meter, timer: undefined };
      this.#peers.set(peer.name, m);
      this.#ask(m);
    }
  }

  /** What is known of a peer's link: average round trip in ms, and the community told. */
  of(peer: string): { readonly averageMs: number | undefined; readonly class: number | undefined } | undefined {
    const found = this.#peers.get(peer);
    return found && { averageMs: found.meter.averageMs, class: found.meter.class };
  }

  linkState(link: string, isUp: boolean): void {
    if (isUp) this.#up.add(link);
    else this.#up.delete(link);
    for (const m of this.#peers.values()) {
      if (m.peer.via !== link) continue;
      clearTimeout(m.timer);
      if (isUp) this.#ask(m);
    }
  }

  /** @param rttUs undefined when the request could not be sent */
  answered(id: number, rttUs: number | undefined): void {
    const m = this.#asked.get(id);
    this.#asked.delete(id);
    if (m === undefined || rttUs === undefined) return;
    if (m.meter.add(rttUs / 1000, systemClock.now())) this.#changed(m.peer, m.meter.class!);
  }

  stop(): void {
    for (const m of this.#peers.values()) clearTimeout(m.timer);
    this.#peers.clear();
  }

  #ask(m: Measured): void {
    const { via } = m.peer;
    if (via === undefined || !this.#up.has(via)) return;
    // What was not answered until now is lost.
    for (const [id, asked] of this.#asked) if (asked === m) this.#asked.delete(id);
    const id = this.#nextId++;
    this.#asked.set(id, m);
    this.#port(id, String(m.peer.address), via);
    m.timer = setTimeout(() => this.#ask(m), m.meter.class === undefined ? FIRST_EVERY_MS : EVERY_MS);
  }
}
