/** Octets for a file or for standard output, no faster than they are taken. */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { MlshimError } from '../lib/errors.ts';

const ENDS_OF_WAITING = ['drain', 'error', 'close'] as const;

export class OctetsOut {
  /** Octets written so far. */
  count = 0;
  readonly #target: string;
  readonly #out: Writable;
  #error: Error | undefined;

  /** @param target `-` is standard output */
  constructor(target: string) {
    this.#target = target;
    this.#out = target === '-' ? process.stdout : createWriteStream(target, { mode: 0o600 });
    this.#out.once('error', (e) => {
      this.#error = e;
    });
  }

  /** Call `ended` when nobody takes them any more. */
  onError(ended: () => void): void {
    this.#out.once('error', ended);
  }

  async write(octets: Uint8Array): Promise<void> {
    if (this.#error !== undefined) return;
    this.count += octets.length;
    if (!this.#out.write(octets)) await this.#roomOrEnd();
  }

  #roomOrEnd(): Promise<void> {
    const out = this.#out;
    return new Promise((resolve) => {
      const done = (): void => {
        for (const event of ENDS_OF_WAITING) out.off(event, done);
        resolve();
      };
      for (const event of ENDS_OF_WAITING) out.on(event, done);
    });
  }

  /**
   * Wait until a file has everything.
   * @throws MlshimError NOT_WRITTEN when it cannot be written
   */
  async end(): Promise<void> {
    if (this.#target === '-') return;
    if (!this.#out.closed) {
      this.#out.end();
      await once(this.#out, 'close').catch(() => undefined);
    }
    if (this.#error !== undefined)
      throw new MlshimError('NOT_WRITTEN', `cannot write ${this.#target}: ${this.#error.message}`);
  }
}
