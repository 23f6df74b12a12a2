/**
 * What the kernel backend needs of this host, looked at by trying, not by version numbers: feeds the choice of the backend and
 * `mlshim doctor`. Leaves nothing behind.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { systemReason } from '../lib/reason.ts';
import { CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, hasCapability } from './capabilities.ts';
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
  /** What the kernel's verifier said, where it refused a program. */
  readonly log?: string;
}

/** What a configuration asks of the host. */
export interface HostNeeds {
  readonly vrf: boolean;
  readonly wireguard: boolean;
}

/** The first kernel that takes the maps of policies (docs/decisions/0011). */
const LEAST_KERNEL = [5, 10] as const;
/** From this one on maps count against the cgroup's memory, before it against RLIMIT_MEMLOCK. */
const MAPS_IN_CGROUP = [5, 11] as const;
/** The maps of a policy fit in. */
const ENOUGH_LOCKED = 64 << 20;

const HINTS: Readonly<Record<string, string>> = {
  privileges: 'run it as root, or give the service CAP_NET_ADMIN, CAP_BPF and CAP_SYS_ADMIN',
  'cgroup-v2':
    'mount it: mount -t cgroup2 none /sys/fs/cgroup/unified; or boot with systemd.unified_cgroup_hierarchy=1',
  'kernel-version': 'a kernel from 5.10 on; from 6.1 on nothing is missing',
  memlock: 'LimitMEMLOCK=infinity in the unit, or "ulimit -l unlimited"; with CAP_SYS_RESOURCE it is raised here',
  'kernel-features': 'ask again as root, or with the capabilities above',
  'bpf-loader': 'npm run build makes it where clang and libbpf-dev are there; MLSHIM_BPF_BIN names another one',
  'cgroup-programs': 'a kernel with CONFIG_CGROUP_BPF; or something forbids bpf(2), such as a seccomp profile',
  bpffs: 'a kernel with CONFIG_BPF_SYSCALL',
  'full-programs': 'Linux 5.12 takes them; without, turns of round robin are not exact, and bind() joins no VRF',
  'refusal-errno': 'Linux 5.18 lets programs say which error; nothing else differs',
  'netns-cookie': 'Linux 5.14 tells it; nothing else differs',
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

const REFUSED_PROGRAM_HINT = 'mlshim up with "backend: kernel" shows what the verifier said; please report it';

export async function probeHost(needs: HostNeeds): Promise<readonly HostProbe[]> {
  const found: HostProbe[] = [];
  const add = (name: string, isPresent: boolean, isNeeded: boolean, detail: string, log = ''): void => {
    const hint = HINTS[name] ?? REFUSED_PROGRAM_HINT;
    found.push({ name, isPresent, isNeeded, detail, hint, ...(log !== '' && { log }) });
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
  add('kernel-version', isFrom(LEAST_KERNEL, release()), false, `Linux ${release()}`);
  if (missing.length > 0 || mount === undefined) {
    const without = missing.length > 0 ? 'without privileges' : 'without cgroup v2';
    add(
      'kernel-features',
      false,
      false,
      `programs, VRF devices, WireGuard and the end of sockets are not tried ${without}`,
    );
    return found;
  }
  const locked = memlockOf(release(), readFileSync('/proc/self/limits', 'latin1'), hasCapability(CAP_SYS_RESOURCE));
  add('memlock', locked.isEnough, true, locked.detail);
  try {
    for (const p of await Programs.probe(mount)) {
      const name = checkName(p.name);
      if (found.some((f) => f.name === name)) continue; // looked at already
      add(name, p.present, p.needed, p.detail === '' ? (p.present ? 'it works' : 'it is missing') : p.detail, p.log);
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

/** The first thing without which nothing goes. */
export function firstMissing(probes: readonly HostProbe[]): HostProbe | undefined {
  return probes.find((p) => p.isNeeded && !p.isPresent);
}

/** The same in words; undefined = all is there. */
export function impediment(probes: readonly HostProbe[]): string | undefined {
  const missing = firstMissing(probes);
  return missing && `${missing.name}: ${missing.detail}`;
}

/** Whether the maps of a policy fit into the memory that the process may lock. @param limits /proc/PID/limits */
export function memlockOf(
  version: string,
  limits: string,
  canRaise: boolean,
): { readonly isEnough: boolean; readonly detail: string } {
  if (isFrom(MAPS_IN_CGROUP, version)) return { isEnough: true, detail: 'maps do not count as locked memory here' };
  if (canRaise) return { isEnough: true, detail: 'the limit of locked memory can be raised' };
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? 'unlimited';
  if (soft === 'unlimited') return { isEnough: true, detail: 'locked memory is not limited' };
  return {
    isEnough: Number(soft) >= ENOUGH_LOCKED,
    detail: `${Number(soft) / 1024} KiB of memory may be locked, and maps of programs count before Linux 5.11`,
  };
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

function isFrom([leastMajor, leastMinor]: readonly [number, number], version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}
