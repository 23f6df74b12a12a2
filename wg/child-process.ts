/**
 * One life of the WireGuard child: the process, its control socket with answers in order, its log lines. Knows nothing
 * of devices and does not restart anything (wg/supervisor.ts does).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { Logger } from '../router/lib/log.ts';

/** A block of the control protocol: lines without the closing errno line and the empty line. */
export interface WgReply {
  readonly errno: number;
  readonly lines: readonly string[];
}

export interface WgChildOptions {
  readonly binary: string;
  readonly memfd: number;
  /** Eventfd by which the router wakes the child, and the one by which the child wakes the router. */
  readonly toChildFd: number;
  readonly fromChildFd: number;
  readonly log: Logger;
  /** A block that starts with event=: its kind, and its other lines by key. */
  readonly onEvent: (kind: string, fields: ReadonlyMap<string, string>) => void;
  readonly onExit: (exit: WgChildExit) => void;
}

export interface WgChildExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** Why the program could not be started at all. */
  readonly error: Error | undefined;
}

const MAX_LINE = 1 << 20;
const CLOSE_GRACE_MS = 1000;

export class WgChild {
  readonly #options: WgChildOptions;
  readonly #process: ChildProcess;
  readonly #control: Duplex | undefined;
  readonly #pending: ((reply: WgReply | undefined) => void)[] = [];
  #partial = '';
  #block: string[] = [];
  #ended = false;

  constructor(options: WgChildOptions) {
    this.#options = options;
    this.#process = spawn(options.binary, [], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', options.memfd, options.toChildFd, options.fromChildFd],
      env: {},
    });
    this.#process.on('error', (error) => this.#end({ code: null, signal: null, error }));
    this.#process.on('exit', (code, signal) => this.#end({ code, signal, error: undefined }));
    this.#control = this.#process.stdio[3] as Duplex | undefined;
    this.#control?.on('data', (bytes: Buffer) => this.#received(bytes.toString('latin1')));
    this.#control?.on('error', () => {}); // the exit event follows
    let partial = '';
    this.#process.stderr?.on('data', (bytes: Buffer) => {
      const lines = (partial + bytes.toString()).split('\n');
      partial = lines.pop()!.slice(-MAX_LINE);
      for (const line of lines) this.#logLine(line);
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Send one block; undefined when the child ended before it answered. */
  request(lines: string): Promise<WgReply | undefined> {
    if (this.#ended || this.#control === undefined) return Promise.resolve(undefined);
    this.#control.write(`${lines}\n`, 'latin1');
    return new Promise((resolve) => this.#pending.push(resolve));
  }

  /** Hang up: the child ends by itself, or is killed after a grace period. Resolves when it has ended. */
  close(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#process.kill('SIGKILL'), CLOSE_GRACE_MS);
      this.#process.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#control?.destroy();
    });
  }

  #end(exit: WgChildExit): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#control?.destroy();
    for (const resolve of this.#pending.splice(0)) resolve(undefined);
    this.#options.onExit(exit);
  }

  #received(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop()!;
    if (this.#partial.length > MAX_LINE) this.#process.kill('SIGKILL');
    for (const line of lines) {
      if (line !== '') this.#block.push(line);
      else if (this.#block.length > 0) {
        const block = this.#block;
        this.#block = [];
        this.#blockReceived(block);
      }
    }
  }

  #blockReceived(block: string[]): void {
    const first = block[0]!;
    if (first.startsWith('event=')) {
      const fields = new Map<string, string>();
      for (const line of block.slice(1)) {
        const eq = line.indexOf('=');
        fields.set(line.slice(0, eq), line.slice(eq + 1));
      }
      this.#options.onEvent(first.slice('event='.length), fields);
      return;
    }
    const last = block.pop()!;
    const errno = last.startsWith('errno=') ? Number(last.slice('errno='.length)) : Number.NaN;
    this.#pending.shift()?.({ errno, lines: block });
  }

  #logLine(line: string): void {
    if (line === '') return;
    const space = line.indexOf(' ');
    const level = line.slice(0, space);
    const text = line.slice(space + 1);
    if (level === 'error') this.#options.log.error(text);
    else if (level === 'warn') this.#options.log.warn(text);
    else if (level === 'info') this.#options.log.info(text);
    else this.#options.log.error(line); // the Go runtime's last words
  }
}
