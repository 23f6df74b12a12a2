/**
 * What the daemon tells the process that started it, over the inherited descriptor LIFELINE_FD: JSON lines, `ready`
 * or `failed` first, then `ending`. A tied daemon (`mlshim run`, `up --foreground`) also takes the other end's close as its order to stop, so that it never
 * outlives a command that was killed.
 */
export const LIFELINE_FD = 3;

export type LifelineMessage =
  | {
      readonly kind: 'ready';
      readonly pid: number;
      /** Empty with the kernel backend. */
      readonly shim: string;
      readonly control: string;
      readonly backend: 'userspace' | 'kernel';
      /** Why it is not the kernel, where that was left to the router. */
      readonly reason: string;
    }
  | {
      readonly kind: 'failed';
      readonly code: string;
      readonly message: string;
      readonly hint: string;
      readonly exit: number;
    }
  /** With which status it ends, unless it says another one later: a process that has to be killed can tell so in no other way. */
  | { readonly kind: 'ending'; readonly exit: number };

/** What the starter asks for, as the daemon's only argument (JSON). Holds no secret. */
export interface DaemonOrders {
  /** As given with -c; undefined = search. */
  readonly config: string | undefined;
  /** Folder of the sockets. */
  readonly folder: string;
  /** Stop when the lifeline closes. */
  readonly isTied: boolean;
  /** The folder was made for this daemon alone: remove it at the end, in case the starter cannot. */
  readonly isFolderTemporary: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly logFormat: 'text' | 'json';
  /** Overrides the configuration. */
  readonly loopback: 'kernel' | 'stack' | undefined;
}
