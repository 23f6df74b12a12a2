/** What is said about an uplink that cannot be asked about. */
import type { UplinkConfig } from '../config/model.ts';
import { MlshimError } from '../lib/errors.ts';

/** Enough of an uplink to name it; one of the host's network has a `host`. */
type Named = Pick<UplinkConfig, 'name' | 'host'>;

export function noUplink(name: string, uplinks: readonly Named[]): MlshimError {
  return new MlshimError('UNKNOWN', `no uplink "${name}" (known: ${uplinks.map((u) => u.name).join(', ')})`);
}

/** For what is asked about tunnels. */
export function noTunnel(name: string, uplinks: readonly Named[]): MlshimError {
  if (uplinks.find((u) => u.name === name)?.host === undefined) return noUplink(name, uplinks);
  return new MlshimError(
    'UNKNOWN',
    `uplink "${name}" is a path of the host's network: its packets do not pass through the router`,
  );
}
