/** What happens at BGP peers, as log lines: never more of them than somebody can read, whatever a peer sends. */
import type { SpeakerEvent } from '../../bgp/speaker.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';

/** One line about mistakes of a peer in this time; `mlshim bgp peer` counts them all. */
const FAULTS_MS = 60_000;

interface Faults {
  readonly saidAt: number;
  /** Mistakes since then. */
  unsaid: number;
}

export class BgpLog {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #faults = new Map<string, Faults>();
  /** Sessions end because we do. */
  isStopping = false;

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  tell(e: SpeakerEvent): void {
    const log = this.#log;
    if (e.kind === 'fault') this.#fault(e.peer, e.text);
    else if (e.kind === 'filter-error') log.error('filter failed', { peer: e.peer, error: e.text });
    else if (e.kind === 'limit') {
      const words = e.crossing === 'near' ? 'peer comes near its prefix limit' : 'peer exceeds its prefix limit';
      log.warn(words, { peer: e.peer, family: e.family, limit: e.limit });
    } else if (e.to === 'Established') log.info('peer established', { peer: e.peer });
    else if (e.from === 'Established') {
      this.#faults.delete(e.peer);
      if (this.isStopping) log.info('peer told goodbye', { peer: e.peer });
      else log.warn('peer down', { peer: e.peer, why: e.why, code: 'B101' });
    } else log.debug('peer state', { peer: e.peer, from: e.from, to: e.to, why: e.why });
  }

  #fault(peer: string, fault: string): void {
    const now = this.#clock.now();
    const before = this.#faults.get(peer);
    if (before !== undefined && now - before.saidAt < FAULTS_MS) {
      before.unsaid++;
      return;
    }
    this.#log.warn('bad UPDATE', { peer, fault, ...(before?.unsaid && { others_before: before.unsaid }) });
    this.#faults.set(peer, { saidAt: now, unsaid: 0 });
  }
}
