/**
 * What the kernel backend needs of this host, looked at by trying, not by version numbers: feeds the choice of the backend and
 * `mlshim doctor`. Leaves nothing behind.
 */
import { accessSync, constants } from 'node:fs';
import { release } from 'node:os';
import { systemReason } from '../lib/reason.ts';
import { CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN, hasCapability } from './capabilities.ts';
import { cgroupMount } from './cgroups.ts';
import { probeNetwork } from './network-probe.ts';
import { Programs } from './programs.ts';

export interface HostProbe {
  readonly name: string;
  readonly isPresent: boolean;
  /** Nothing goes without it. */
  readonly isNeeded: boolean;
  /** What was found, or why it is not there. */
  readonly detail: string;
  readonly hint: string;
}

/** What a configuration asks of the host. */
export interface HostNeeds {
  readonly vrf: boolean;
  readonly wireguard: boolean;
}

/** The first kernel that takes the maps of policies (docs/decisions/0011). */
const LEAST_KERNEL = [5, 10] as const;

const HINTS: Readonly<Record<string, string>> = {
  privileges: 'run it as root, or give the service CAP_NET_ADMIN, CAP_BPF and CAP_SYS_ADMIN',
  'cgroup-v2':
    'mount it: mount -t cgroup2 none /sys/fs/cgroup/unified; or boot with systemd.unified_cgroup_hierarchy=1',
  'kernel-version': 'a kernel from 5.10 on; from 6.1 on nothing is missing',
  'vrf-device': 'modprobe vrf; or "isolation: device", which needs none',
  'kernel-wireguard': 'modprobe wireguard, or give it /dev/net/tun: the WireGuard child serves a TUN then',
  'socket-destroy': 'a kernel with CONFIG_INET_DIAG_DESTROY; without it flows of a dead uplink end by themselves',
};

/** What an uplink is, as far as it matters here. */
interface NeedingUplink {
  readonly host: { readonly source: unknown } | undefined;
  readonly wireguard: unknown;
}

/** Without a configuration all of it is asked. */
export function needsOf(
  config: { readonly isolation: string; readonly uplinks: readonly NeedingUplink[] } | undefined,
): HostNeeds {
  if (config === undefined) return { vrf: true, wireguard: true };
  return {
    vrf: config.isolation === 'vrf' && config.uplinks.some((u) => u.host?.source === undefined),
    wireguard: config.uplinks.some((u) => u.wireguard !== undefined),
  };
}

export async function probeHost(needs: HostNeeds): Promise<readonly HostProbe[]> {
  const found: HostProbe[] = [];
  const add = (name: string, isPresent: boolean, isNeeded: boolean, detail: string): void => {
    found.push({ name, isPresent, isNeeded, detail, hint: HINTS[name] ?? '' });
  };
  const missing = missingCapabilities();
  add(
    'privileges',
    missing.length === 0,
    true,
    missing.length === 0 ? 'enough privileges' : `no ${missing.join(', ')}`,
  );
  const mount = cgroupMount();
  add(
    'cgroup-v2',
    mount !== undefined,
    true,
    mount ?? 'no cgroup v2 hierarchy is mounted, version 1 alone is not enough',
  );
  add('kernel-version', isNewEnough(release()), false, `Linux ${release()}`);
  // What cannot even be tried says nothing more.
  if (missing.length > 0 || mount === undefined) return found;
  try {
    for (const p of await Programs.probe(mount)) {
      const name = checkName(p.name);
      if (found.some((f) => f.name === name)) continue; // looked at already
      add(name, p.present, p.needed, p.detail === '' ? (p.present ? 'it works' : 'it is missing') : p.detail);
    }
  } catch (e) {
    add('bpf-loader', false, true, systemReason(e));
  }
  const network = probeNetwork();
  add('vrf-device', network.vrf === undefined, needs.vrf, network.vrf ?? 'VRF devices can be made');
  const canServeTun = hasTun();
  const substitute = canServeTun ? '; the WireGuard child serves a TUN instead' : '; nor a TUN for the WireGuard child';
  add(
    'kernel-wireguard',
    network.wireguard === undefined,
    needs.wireguard && !canServeTun,
    network.wireguard === undefined ? 'WireGuard devices can be made' : network.wireguard + substitute,
  );
  add(
    'socket-destroy',
    network.socketDestroy === undefined,
    false,
    network.socketDestroy ?? 'sockets of an uplink can be ended',
  );
  return found;
}

/** Features of the loader in the form that checks have: `programs-on-cgroups`, `mls-connect4`. */
function checkName(feature: string): string {
  return feature
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '-')
    .replace(/-$/, '');
}

/** The first thing without which nothing goes, in words; undefined = all is there. */
export function impediment(probes: readonly HostProbe[]): string | undefined {
  const missing = probes.find((p) => p.isNeeded && !p.isPresent);
  return missing && `${missing.name}: ${missing.detail}`;
}

function missingCapabilities(): string[] {
  const missing: string[] = [];
  if (!hasCapability(CAP_NET_ADMIN)) missing.push('CAP_NET_ADMIN');
  if (!hasCapability(CAP_BPF) && !hasCapability(CAP_SYS_ADMIN)) missing.push('CAP_BPF');
  return missing;
}

function hasTun(): boolean {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > LEAST_KERNEL[0] || (major === LEAST_KERNEL[0] && minor >= LEAST_KERNEL[1]);
}
