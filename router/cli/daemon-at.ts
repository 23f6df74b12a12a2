/** The process that serves a control socket: whether it has gone, and a signal for it and for no other one. */
import { readlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isServed } from '../control/client.ts';
import { identity } from '../control/process-identity.ts';
import { peerPid } from '../kernel/peer-pid.ts';

const POLL_MS = 50;

export class DaemonAt {
  /** Undefined where it cannot be seen: in another PID namespace, or without a /proc of ours. */
  readonly pid: number | undefined;
  readonly #control: string;
  readonly #identity: string | undefined;

  /** @param pid as the kernel says; the process lives now */
  constructor(control: string, pid: number | undefined, itself = pid === undefined ? undefined : identity(pid)) {
    this.#control = control;
    this.#identity = itself;
    this.pid = itself === undefined ? undefined : pid;
  }

  static servedOver(control: string, socket: Socket): DaemonAt {
    return new DaemonAt(control, hasOwnProc() ? pidOf(socket) : undefined);
  }

  /** Resolves with false when it is still there after this time. One that cannot be seen has gone when nobody serves any more. */
  async isGone(withinMs: number): Promise<boolean> {
    for (let left = withinMs; left > 0; left -= POLL_MS) {
      if (!(await this.#isThere())) return true;
      await sleep(POLL_MS);
    }
    return false;
  }

  /** @returns false when it gets none: it has gone, or cannot be seen */
  signal(signal: NodeJS.Signals): boolean {
    if (this.pid === undefined || identity(this.pid) !== this.#identity) return false;
    try {
      return process.kill(this.pid, signal);
    } catch {
      return false; // it has gone just now, or is somebody else's
    }
  }

  async #isThere(): Promise<boolean> {
    return this.pid === undefined ? isServed(this.#control) : identity(this.pid) === this.#identity;
  }
}

/** /proc may be that of another PID namespace, where numbers stand for other processes. */
function hasOwnProc(): boolean {
  try {
    return readlinkSync('/proc/self') === String(process.pid);
  } catch {
    return false;
  }
}

function pidOf(socket: Socket): number | undefined {
  try {
    return peerPid(socket);
  } catch {
    return undefined; // the addon is missing
  }
}
