/** Who carries the flows of uplinks: the host's kernel, or our own stack for programs under the shim. */
import type { BackendChoice, Config } from '../config/model.ts';
import { firstMissing, type HostProbe, impediment, needsOf, probeHost } from '../kernel/host-probes.ts';
import { MlshimError } from '../lib/errors.ts';

export interface Choice {
  readonly backend: Exclude<BackendChoice, 'auto'>;
  /** Why it is not the kernel where that was left to us; empty otherwise. */
  readonly reason: string;
}

/**
 * @param isPrivate the router is for one command, which must not change the host unless that was asked for
 * @throws MlshimError BACKEND_UNAVAILABLE when the kernel is asked for and cannot be had
 */
export async function chooseBackend(
  config: Config,
  isPrivate: boolean,
  probe: (config: Config) => Promise<readonly HostProbe[]> = (c) => probeHost(needsOf(c)),
): Promise<Choice> {
  if (config.backend === 'userspace') return { backend: 'userspace', reason: '' };
  const unsuitable = config.backend === 'kernel' ? undefined : whyUserspace(config, isPrivate);
  if (unsuitable !== undefined) return { backend: 'userspace', reason: unsuitable };
  const probes = await probe(config);
  const missing = impediment(probes);
  if (missing === undefined) return { backend: 'kernel', reason: '' };
  if (config.backend === 'kernel') {
    const log = firstMissing(probes)?.log ?? '';
    const more = log === '' ? remedy(probes) : `\n${log.trimEnd()}`;
    throw new MlshimError('BACKEND_UNAVAILABLE', `backend: kernel: ${missing}${more}`);
  }
  return { backend: 'userspace', reason: missing };
}

function remedy(probes: readonly HostProbe[]): string {
  const { hint = '' } = firstMissing(probes) ?? {};
  return hint === '' ? '' : ` (${hint})`;
}

/** What the kernel backend would do for a configuration, or not do. */
function whyUserspace({ policy, loopback }: Config, isPrivate: boolean): string | undefined {
  if (isPrivate) return 'this router is for one command';
  if (policy.rules.length === 0) return 'there are no rules, which are all that the kernel backend carries out';
  return loopback === 'stack' ? 'loopback: stack' : undefined;
}
