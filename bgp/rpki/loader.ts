/** Carries out changes of the ROA table one after the other, in slices, and passes on what changed when each is done. */

import type { RoaSource, VrpUpdate } from './roa-table.ts';
import type { VrpList } from './vrp.ts';

interface Job {
  readonly source: RoaSource;
  readonly begin: () => VrpUpdate;
  readonly done: (update: VrpUpdate) => void;
}

export class VrpLoader {
  readonly #jobs: Job[] = [];
  readonly #changed: (changed: VrpList) => void;
  #current: VrpUpdate | undefined;

  /** @param changed told the prefixes of each finished change */
  constructor(changed: (changed: VrpList) => void) {
    this.#changed = changed;
  }

  get isPending(): boolean {
    return this.#jobs.length > 0;
  }

  /** The source has what is in `list`, and nothing else. */
  replace(source: RoaSource, list: VrpList, done: (update: VrpUpdate) => void = () => {}): void {
    this.#jobs.push({ source, begin: () => source.replace(list), done });
  }

  /** Announced and withdrawn rows of `list`. */
  update(source: RoaSource, list: VrpList, done: (update: VrpUpdate) => void = () => {}): void {
    this.#jobs.push({ source, begin: () => source.update(list), done });
  }

  /** Work on up to `budget` VRPs. */
  step(budget: number): void {
    const job = this.#jobs[0];
    if (job === undefined) return;
    this.#current ??= job.begin();
    if (!this.#current.step(budget)) return;
    const update = this.#current;
    this.#current = undefined;
    this.#jobs.shift();
    this.#changed(update.changed);
    job.done(update);
  }
}
