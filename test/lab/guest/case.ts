/** What a case of the guest is: a sentence that holds on a real kernel, and how it is tried there, as root. */
import type { Lab } from '../../kit/lab.ts';

/**
 * A boot of the guest. `systemd` is a host with systemd; in the others nothing runs but the cases: `measured` has those that
 * measure rates and times and runs alone, `plain` parts of the kernel backend, `daemon` the whole daemon in all its ways.
 */
export type BootKind = 'measured' | 'plain' | 'daemon' | 'systemd';

export interface Trial {
  /** Namespaces and processes of the suite; removed after its last case. */
  readonly lab: Lab;
  /** Show a line beside the result: figures, addresses, other proof. */
  log(line: string): void;
  /** Tell a measurement to whoever runs the case as part of a benchmark. */
  figure(name: string, value: number): void;
}

export interface Case {
  /** What `--only` takes: short, lower case, unique. */
  readonly name: string;
  /** The behaviour, as a sentence. */
  readonly title: string;
  /** How long it may take, in ms, where the processor is emulated and busy; three minutes unless said. */
  readonly limitMs?: number;
  /** Rejects when the sentence does not hold. */
  readonly run: (trial: Trial) => Promise<void>;
}

/** Cases that share what `setup` made. The guest's own network is as before once a suite has ended: that is a case too. */
export interface Suite {
  readonly name: string;
  readonly boot: BootKind;
  readonly setup?: (trial: Trial) => Promise<void>;
  /** Undo what the lab does not remove by itself; called after the last case, also when one failed. */
  readonly teardown?: (trial: Trial) => Promise<void>;
  readonly cases: readonly Case[];
}

/** The guest's first network namespace, where the daemon runs, by the name a lab knows it by. */
export const HOST = 'host';
