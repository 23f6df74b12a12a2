/** Takes back everything the kernel backend of a router has made on this host, whether that router lives, ended or was killed. */
import type { Logger } from '../lib/log.ts';
import { systemReason } from '../lib/reason.ts';
import { cgroupMount, GroupCgroups } from './cgroups.ts';
import { undoHostNetwork } from './host-network.ts';
import { instanceName, isInForce, pinDirOf, releaseInstance } from './instance.ts';
import { Programs } from './programs.ts';

/**
 * The programs go first, so that no new socket is sent to a device that is about to go. What cannot be undone is logged, and the
 * rest goes on.
 * @returns false when there was nothing
 */
export async function undoKernelBackend(folder: string, log: Logger): Promise<boolean> {
  if (!isInForce(folder)) return false;
  const name = instanceName(folder);
  await Programs.remove(pinDirOf(folder)).catch((e: unknown) =>
    log.error('cannot remove the programs', { error: systemReason(e) }),
  );
  undoHostNetwork(folder, log);
  const mount = cgroupMount();
  if (mount !== undefined) new GroupCgroups(mount, name).removeAll();
  releaseInstance(folder);
  return true;
}
