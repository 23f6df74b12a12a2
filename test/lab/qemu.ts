/** QEMU: a guest with two disks and no network card, its console into a file and its second serial port to us. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { machine, release } from 'node:os';
import type { Guest } from './image.ts';
import { run } from './packages.ts';

export const QEMU = 'qemu-system-x86_64';
const MEMORY_MB = 1024;
const CPUS = 2;
/** A guest that does not reach user space in this time runs faster without KVM. */
const TRIAL_MS = 8_000;

export type Accelerator = 'kvm' | 'tcg';

export interface Boot {
  readonly guest: Guest;
  readonly accelerator: Accelerator;
  /** Our disk; a trial needs none. */
  readonly ours?: string;
  /** Where the console's text goes, or `stdio` for a person. */
  readonly console: string;
  /** Words for the kernel's command line. */
  readonly words: readonly string[];
}

/** Start a guest; its second serial port is the child's standard output. It ends by itself, or is killed by its pid. */
export function boot({ guest, accelerator, ours, console, words }: Boot): ChildProcess {
  // QEMU 7.2's TCG corrupts flags after CMPXCHG16B: Linux 6.12 double-faults in its allocator.
  const cpu =
    accelerator === 'kvm' ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi', '-cpu', 'max,-cx16'];
  const isShell = console === 'stdio';
  const args = [
    ...['-M', 'q35', ...cpu, '-m', String(MEMORY_MB), '-smp', String(CPUS)],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-kernel', guest.kernel, '-initrd', guest.initrd],
    ...['-append', ['console=ttyS0', 'quiet', 'panic=-1', 'mitigations=off', 'audit=0', ...words].join(' ')],
    ...['-drive', `file=${guest.disk},format=raw,if=virtio,snapshot=on`],
    ...(ours === undefined ? [] : ['-drive', `file=${ours},format=raw,if=virtio,readonly=on`]),
    ...['-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng'],
    ...(isShell ? ['-serial', 'mon:stdio', '-serial', 'null'] : ['-serial', `file:${console}`, '-serial', 'stdio']),
  ];
  // Whatever becomes of this process, the guest does not outlive it.
  return spawn('setpriv', ['--pdeathsig', 'KILL', QEMU, ...args], {
    stdio: isShell ? 'inherit' : ['ignore', 'pipe', 'pipe'],
  });
}

/** KVM where a guest reaches user space with it in good time, else QEMU's own translation. */
export async function accelerator(guest: Guest, console: string): Promise<Accelerator> {
  try {
    accessSync('/dev/kvm', constants.W_OK);
  } catch {
    return 'tcg';
  }
  const trial = boot({ guest, accelerator: 'kvm', console, words: ['lab.boot=trial'] });
  let said = '';
  trial.stdout!.on('data', (chunk) => (said += chunk));
  const timer = setTimeout(() => trial.kill('SIGKILL'), TRIAL_MS);
  await new Promise((resolve) => trial.once('close', resolve).once('error', resolve));
  clearTimeout(timer);
  return said.includes('user space') ? 'kvm' : 'tcg';
}

/** Why no guest can be built or run here, or undefined. */
export async function missing(): Promise<string | undefined> {
  if (machine() !== 'x86_64') return `the guest is x86-64, this machine is ${machine()} with Linux ${release()}`;
  const tools = {
    'apt-get': 'a Debian machine',
    [QEMU]: 'qemu-system-x86',
    mke2fs: 'e2fsprogs',
    depmod: 'kmod',
    cpio: 'cpio',
    xz: 'xz-utils',
  };
  const absent: string[] = [];
  for (const [tool, from] of Object.entries(tools))
    await run('sh', ['-c', `command -v ${tool}`]).catch(() => absent.push(from));
  if (absent.length > 0) return `not installed: ${absent.join(', ')}`;
  const targets = await run('apt-get', ['indextargets', '--format', '$(ORIGIN)']).catch(() => '');
  return targets.includes('Debian') ? undefined : "no lists of Debian's packages: not Debian, or before apt-get update";
}
