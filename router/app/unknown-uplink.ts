/** What is said about an uplink that cannot be asked about. */
import { MlshimError } from '../lib/errors.ts';
import type { Plan } from './plan.ts';

export function noUplink(name: string, plan: Plan): MlshimError {
  return new MlshimError(
    'UNKNOWN',
    `no uplink "${name}" (known: ${[...plan.links.map((l) => l.spec.name), ...plan.hosts.map((h) => h.name)].join(', ')})`,
  );
}

/** For what is asked about our own links. */
export function noTunnel(name: string, plan: Plan): MlshimError {
  if (!plan.hosts.some((h) => h.name === name)) return noUplink(name, plan);
  return new MlshimError(
    'UNKNOWN',
    `uplink "${name}" is a path of the host's network: its packets do not pass through the router`,
  );
}
