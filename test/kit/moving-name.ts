/** A name server (dnsmasq) that knows one name, whose address may change at any time. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab, LabProcess } from './lab.ts';

export class MovingName {
  readonly name: string;
  readonly #file: string;
  #server: LabProcess | undefined;
  #loads = 0;

  constructor(lab: Lab, name: string) {
    this.name = name;
    this.#file = join(lab.dir, name);
  }

  /** Serve it at an address of a namespace. */
  async serve(lab: Lab, ns: string, at: string, first: string): Promise<void> {
    this.#write(first);
    this.#server = lab.start(ns, 'dnsmasq', [
      ...['--keep-in-foreground', '--no-resolv', '--no-hosts', '--no-poll', '--conf-file=/dev/null', '--user=root'],
      ...['--bind-interfaces', '--except-interface=lo', `--listen-address=${at}`, '--pid-file=', '--log-facility=-'],
      `--addn-hosts=${this.#file}`,
    ]);
    await this.#loaded();
  }

  /** From now on the name has this address. */
  async is(address: string): Promise<void> {
    this.#write(address);
    process.kill(this.#server!.pid, 'SIGHUP');
    await this.#loaded();
  }

  #write(address: string): void {
    writeFileSync(this.#file, `${address} ${this.name}\n`);
  }

  async #loaded(): Promise<void> {
    this.#loads++;
    const load = /read \S+ - 1 (?:names|addresses)/.source;
    await this.#server!.until(new RegExp(`(?:${load}[^]*?){${this.#loads}}`));
  }
}
