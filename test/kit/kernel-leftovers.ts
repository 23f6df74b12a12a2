/** What a router with the kernel backend has outside of its namespace: cgroups, pins, and the marks in its folder. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupMount } from '../../router/kernel/cgroups.ts';
import { instanceName } from '../../router/kernel/instance.ts';
import type { Router } from './router.ts';

/** Those that are there. */
export function kernelLeftovers(router: Router): string[] {
  const folder = join(router.dir, 'mlshim');
  const name = existsSync(folder) ? instanceName(folder) : '';
  return [
    join(cgroupMount()!, 'mlshim', name),
    join('/sys/fs/bpf/mlshim', name),
    join('/run/mlshim/pins', name),
    join(folder, 'host-network.journal'),
    join(folder, 'kernel-backend'),
  ].filter((path) => existsSync(path) && name !== '');
}
