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
  #isBusy = false;

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
   * What is different, and, unless `check`, the change itself.
   * @throws MlshimError CONFIG_INVALID; RELOAD_REFUSED with what cannot be done while the router runs
   */
  async reload({ check, confirm_s }: Verbs['reload']): Promise<Answers['reload']> {
    if (confirm_s < 0 || confirm_s > MAX_CONFIRM_S)
      throw new MlshimError('USAGE', `a confirmation is waited for at most ${MAX_CONFIRM_S} s`);
    const next = await this.#port.load();
    const changes = diffConfig(this.#current, next);
    const answer = { file: next.file, changes, applied: false, reverts_in_s: 0 };
    if (check) return answer;
    if (!isReloadable(changes)) {
      const refused = changes.filter((c) => c.effect === 'restart').map(whyFixed);
      throw new MlshimError('RELOAD_REFUSED', `cannot change while the router runs: ${refused.join(', ')}`);
    }
    const before = this.#trial?.before ?? this.#current;
    await this.#go(next, changes, 'configuration loaded');
    this.#endTrial();
    if (confirm_s === 0) return { ...answer, applied: true };
    const timer = setTimeout(() => void this.undo('nobody confirmed'), confirm_s * 1000);
    this.#trial = { before, endsAt: systemClock.now() + confirm_s * 1000, timer };
    return { ...answer, applied: true, reverts_in_s: confirm_s };
  }

  /** Keep what is on trial. @throws MlshimError USAGE when nothing is */
  confirm(): void {
    if (this.#trial === undefined) throw new MlshimError('USAGE', 'no configuration waits for a confirmation');
    this.#endTrial();
    this.#log.info('configuration confirmed');
  }

  /** Go back to the configuration before the one on trial. @throws MlshimError USAGE when none is */
  async undo(reason: string): Promise<void> {
    const trial = this.#trial;
    if (trial === undefined) throw new MlshimError('USAGE', 'no configuration waits for a confirmation');
    this.#endTrial();
    try {
      await this.#go(trial.before, diffConfig(this.#current, trial.before), `configuration taken back: ${reason}`);
    } catch (e) {
      this.#log.error('cannot take the configuration back', { error: e instanceof Error ? e.message : String(e) });
    }
  }

  stop(): void {
    this.#endTrial();
  }

  async #go(next: Config, changes: readonly ConfigChange[], words: string): Promise<void> {
    if (this.#isBusy) throw new MlshimError('RELOAD_REFUSED', 'another configuration is being loaded');
    this.#isBusy = true;
    try {
      if (changes.length > 0) await this.#port.apply(next, changes);
      this.#current = next;
      this.#log.info(words, { file: next.file, changes: changes.length });
    } finally {
      this.#isBusy = false;
    }
  }

  #endTrial(): void {
    clearTimeout(this.#trial?.timer);
    this.#trial = undefined;
  }
}

/** `configure [check | confirm | undo | timeout N]` of BIRD's control socket, in BIRD's words. */
export async function birdConfigure(
  reloader: Reloader,
  { what, timeoutS }: Extract<BirdCommand, { readonly kind: 'configure' }>,
): Promise<readonly [Line[], Line]> {
  try {
    if (what === 'confirm') reloader.confirm();
    if (what === 'undo') await reloader.undo('undone by the operator');
    if (what === 'confirm' || what === 'undo') return [[], [Code.Reconfigured, 'Reconfiguration confirmed']];
    const { file } = await reloader.reload({ check: what === 'check', confirm_s: timeoutS ?? 0 });
    const reading: Line = [Code.ReadingConfig, `Reading configuration from ${file}`];
    return [[reading], what === 'check' ? [Code.ConfigOk, 'Configuration OK'] : [Code.Reconfigured, 'Reconfigured']];
  } catch (e) {
    const [first, ...others] = (e instanceof Error ? e.message : String(e)).split('\n');
    return [others.map((text): Line => [Code.ConfigFailed, text]), [Code.ConfigFailed, first!]];
  }
}
