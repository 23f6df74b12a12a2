/**
 * The helper that puts programs into the kernel (router/kernel/loader/): started for one command each time, answers one line
 * of JSON. `MLSHIM_BPF_BIN` names another file.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MlshimError } from '../lib/errors.ts';

/** The verifier's log can be long. */
const MAX_ANSWER = 1 << 20;

/** Where the compiled programs are, `policy.bpf.o` and `policy-old.bpf.o`. */
export const OBJECTS = fileURLToPath(new URL('../../kernel', import.meta.url));

interface Failure {
  readonly error: string;
  readonly detail: string;
  readonly reason: string;
  readonly log: string;
}

export interface Feature {
  readonly name: string;
  readonly present: boolean;
  /** The backend does not work without it. */
  readonly needed: boolean;
  /** Why it is missing, or what is used. */
  readonly detail: string;
  /** What the verifier said of a program that is needed and refused; else empty. */
  readonly log: string;
}

export interface HookStatus {
  readonly program: string;
  /** Id of the cgroup it is attached to; 0 = that one is gone. */
  readonly cgroup: number;
  /** Of the kernel's run-time statistics (sysctl kernel.bpf_stats_enabled). */
  readonly runs: number;
  readonly run_ns: number;
}

interface Answers {
  readonly load: { readonly dir: string; readonly variant: 'full' | 'old'; readonly set_retval: boolean };
  readonly attach: { readonly hooks: number };
  readonly remove: { readonly links: number; readonly maps: number; readonly left: number };
  readonly status: { readonly schema: number; readonly hooks: readonly HookStatus[] };
  readonly probe: { readonly features: readonly Feature[] };
}

/** @throws MlshimError BPF_REFUSED, with what the kernel's verifier said */
export async function runLoader<C extends keyof Answers>(command: C, ...words: readonly string[]): Promise<Answers[C]> {
  const path = process.env['MLSHIM_BPF_BIN'] ?? `${OBJECTS}/mlshim-bpf`;
  const { stdout, failure } = await new Promise<{ stdout: string; failure: Error | undefined }>((resolve) => {
    execFile(path, [command, ...words], { maxBuffer: MAX_ANSWER }, (error, out) => {
      resolve({ stdout: out, failure: error ?? undefined });
    });
  });
  const answer = parsed<Answers[C] & Partial<Failure>>(stdout);
  if (answer === undefined) {
    const why = failure?.message ?? 'no answer';
    throw new MlshimError('BPF_REFUSED', `${path} ${command}: ${why}`, { path });
  }
  if (answer.error === undefined) return answer;
  const log = answer.log === '' ? '' : `\n${answer.log}`;
  throw new MlshimError('BPF_REFUSED', `${answer.error}: ${answer.detail}: ${answer.reason}${log}`, { ...answer });
}

function parsed<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}
