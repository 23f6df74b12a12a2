/** An ExaBGP of the distribution as a child process: says what it is configured to say and writes down what it hears. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ended } from './bird.ts';

const EXABGP = '/usr/sbin/exabgp';

export function hasExabgp(): boolean {
  return existsSync(EXABGP);
}

export class Exabgp {
  readonly #dir = mkdtempSync(join(tmpdir(), 'mlshim-exabgp-'));
  readonly #heard = join(this.#dir, 'heard.json');
  #child: ChildProcess | undefined;
  output = '';

  /** @param neighbor the inside of a `neighbor` block; its messages are written down */
  start(address: string, neighbor: string): void {
    chmodSync(this.#dir, 0o777);
    const file = join(this.#dir, 'exabgp.conf');
    writeFileSync(this.#heard, '');
    chmodSync(this.#heard, 0o666);
    writeFileSync(
      file,
      `process ear { run /usr/bin/tee ${this.#heard}; encoder json; }
neighbor ${address} {
  api { processes [ ear ]; receive { parsed; open; update; refresh; notification; } }
${neighbor}
}
`,
    );
    const env = {
      ...process.env,
      'exabgp.daemon.user': 'nobody',
      'exabgp.log.destination': 'stdout',
      'exabgp.api.cli': 'false',
    };
    const child = spawn(EXABGP, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (b) => (this.output += String(b)));
    child.stderr.on('data', (b) => (this.output += String(b)));
    this.#child = child;
  }

  /** Messages heard so far, as ExaBGP reads them. */
  get heard(): { readonly type: string; readonly neighbor: Record<string, unknown> }[] {
    return readFileSync(this.#heard, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line));
  }

  async remove(): Promise<void> {
    await ended(this.#child, 'SIGTERM');
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
