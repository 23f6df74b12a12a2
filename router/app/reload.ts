/**
 * Going over to a changed configuration while the router runs: reads it, says what differs, refuses what cannot be done
 * without a new start, has the rest carried out, and goes back by itself when that was asked for and nobody confirms.
 */
import type { BirdCommand } from '../birdctl/command.ts';
import { Code, type Line } from '../birdctl/reply.ts';
import { type ConfigChange, diffConfig, isReloadable, whyFixed } from '../config/diff.ts';
import type { Config } from '../config/model.ts';
import type { Answers, Verbs } from '../control/messages.ts';
import { systemClock } from '../lib/clock.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

export interface ReloadPort {
  /** Read the configuration again. @throws MlshimError CONFIG_INVALID, CONFIG_UNREADABLE */
  load(): Promise<Config>;
  /** Carry a change out. @throws MlshimError when it cannot be done; all is as it was then */
  apply(next: Config, changes: readonly ConfigChange[]): Promise<void>;
}

/** Longest time to wait for a confirmation. */
const MAX_CONFIRM_S = 3600;

interface Trial {
  readonly before: Config;
  readonly endsAt: number;
  readonly timer: NodeJS.Timeout;
}

export class Reloader {
  readonly #port: ReloadPort;
  readonly #log: Logger;
  #current: Config;
  #trial: Trial | undefined;
  /** What ran before the last change; undefined when that was going back. */
  #previous: Config | undefined;
  /** Resolves when the change that goes on is over. */
  #busy: Promise<void> | undefined;

  constructor(current: Config, port: ReloadPort, log: Logger) {
    this.#current = current;
    this.#port = port;
    this.#log = log;
  }

  get current(): Config {
    return this.#current;
  }

  /** Seconds until the configuration before comes back, while that waits for a confirmation. */
  get revertsInS(): number | undefined {
    return this.#trial && Math.max(0, (this.#trial.endsAt - systemClock.now()) / 1000);
  }

  /**
   * What is different, and, unless `check`, the change itself. A trial that goes on is over when something else is loaded, and
   * stays when nothing is different: who reloads then has not seen what is on trial.
   * @throws MlshimError CONFIG_INVALID; RELOAD_REFUSED with what cannot be done while the router runs
   */
  async reload({ check, confirm_s }: Verbs['reload']): Promise<Answers['reload']> {
    if (confirm_s < 0 || confirm_s > MAX_CONFIRM_S)
      throw new MlshimError('USAGE', `a confirmation is waited for at most ${MAX_CONFIRM_S} s`);
    const next = await this.#port.load();
    const changes = diffConfig(this.#current, next);
    const answer = { file: next.file, changes };
    if (check) return { ...answer, applied: false, reverts_in_s: this.#leftS };
    if (!isReloadable(changes)) {
      const refused = changes.filter((c) => c.effect === 'restart').map(whyFixed);
      throw new MlshimError('RELOAD_REFUSED', `cannot change while the router runs: ${refused.join(', ')}`);
    }
    const last = this.#current;
    await this.#go(next, changes, 'configuration loaded', () => {
      const trial = this.#trial; // as it is now: `last` may have been confirmed meanwhile
      if (changes.length > 0) {
        this.#previous = last;
        this.#endTrial();
      }
      if (confirm_s > 0 && (changes.length > 0 || trial !== undefined))
        this.#beginTrial(trial?.before ?? last, confirm_s * 1000);
    });
    return { ...answer, applied: true, reverts_in_s: this.#leftS };
  }

  /**
   * Keep what is on trial. While something else is being loaded that is still what runs: a trial of the new one goes back to it.
   * @throws MlshimError USAGE when nothing is on trial
   */
  confirm(): void {
    if (this.#trial === undefined) throw new MlshimError('USAGE', 'no configuration waits for a confirmation');
    this.#endTrial();
    this.#log.info('configuration confirmed');
  }

  get isOnTrial(): boolean {
    return this.#trial !== undefined;
  }

  /**
   * Go back to the configuration before the one on trial, or before the last change.
   * @returns false when there is none
   * @throws MlshimError when it cannot be done
   */
  async undo(reason: string): Promise<boolean> {
    const before = this.#trial?.before ?? this.#previous;
    if (before === undefined) return false;
    this.#refuseWhileBusy();
    this.#endTrial();
    await this.#go(before, diffConfig(this.#current, before), `configuration taken back: ${reason}`, () => {
      this.#previous = undefined;
    });
    return true;
  }

  stop(): void {
    this.#endTrial();
  }

  /** @param onLoaded what success does to the trial; done before anybody who waits for the end of the load goes on */
  async #go(next: Config, changes: readonly ConfigChange[], words: string, onLoaded: () => void): Promise<void> {
    this.#refuseWhileBusy();
    let over: () => void = () => undefined;
    this.#busy = new Promise((resolve) => {
      over = resolve;
    });
    try {
      if (changes.length > 0) await this.#port.apply(next, changes);
      this.#current = next;
      onLoaded();
      this.#log.info(words, { file: next.file, changes: changes.length });
    } finally {
      this.#busy = undefined;
      over();
    }
  }

  #refuseWhileBusy(): void {
    if (this.#busy !== undefined) throw new MlshimError('RELOAD_REFUSED', 'another configuration is being loaded');
  }

  get #leftS(): number {
    return Math.ceil(this.revertsInS ?? 0);
  }

  #beginTrial(before: Config, withinMs: number): void {
    this.#endTrial();
    const timer = setTimeout(() => void this.#expired(trial), withinMs);
    const trial: Trial = { before, endsAt: systemClock.now() + withinMs, timer };
    this.#trial = trial;
  }

  /** Nobody has confirmed. A change that goes on meanwhile is the end of the trial, unless it fails. */
  async #expired(trial: Trial): Promise<void> {
    while (this.#busy !== undefined) await this.#busy;
    if (this.#trial !== trial) return;
    try {
      await this.undo('nobody confirmed');
    } catch (e) {
      this.#log.error('cannot take the configuration back', { error: e instanceof Error ? e.message : String(e) });
    }
  }

  #endTrial(): void {
    clearTimeout(this.#trial?.timer);
    this.#trial = undefined;
  }
}

const RECONFIGURED: Line = [Code.Reconfigured, 'Reconfigured'];
const NOTHING_TO_DO: Line = [Code.NothingToDo, 'Nothing to do'];

/** `configure [check | confirm | undo | timeout N]` of BIRD's control socket, in BIRD's words. */
export async function birdConfigure(
  reloader: Reloader,
  { what, timeoutS }: Extract<BirdCommand, { readonly kind: 'configure' }>,
): Promise<readonly [Line[], Line]> {
  try {
    if (what === 'confirm') {
      if (!reloader.isOnTrial) return [[], NOTHING_TO_DO];
      reloader.confirm();
      return [[], [Code.Confirmed, 'Reconfiguration confirmed']];
    }
    if (what === 'undo') {
      const isUndone = await reloader.undo('undone by the operator');
      return [[[Code.UndoRequested, 'Undo requested']], isUndone ? RECONFIGURED : NOTHING_TO_DO];
    }
    const { file } = await reloader.reload({ check: what === 'check', confirm_s: timeoutS ?? 0 });
    const reading: Line = [Code.ReadingConfig, `Reading configuration from ${file}`];
    if (what === 'check') return [[reading], [Code.ConfigOk, 'Configuration OK']];
    const undo: Line[] = timeoutS === undefined ? [] : [[Code.UndoScheduled, `Undo scheduled in ${timeoutS} s`]];
    return [[reading, ...undo], RECONFIGURED];
  } catch (e) {
    const [first, ...others] = (e instanceof Error ? e.message : String(e)).split('\n');
    return [others.map((text): Line => [Code.ConfigFailed, text]), [Code.ConfigFailed, first!]];
  }
}
