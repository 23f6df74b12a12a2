/** A way out through the host's own network: what a socket of the kernel's is bound to so that it takes it. */
import type { Addr } from './addr.ts';

/** Either or both; with neither the host's routes decide. */
export interface HostWay {
  /** Network interface, for SO_BINDTODEVICE. */
  readonly device: string | undefined;
  /** Address of ours, for bind(2); the host's routes and rules decide where packets from it leave. */
  readonly source: Addr | undefined;
}
