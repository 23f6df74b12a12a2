/** What the kernel lets this process do (capabilities(7)). */
import { readFileSync } from 'node:fs';

export const CAP_NET_BIND_SERVICE = 10;
export const CAP_NET_ADMIN = 12;
export const CAP_SYS_PTRACE = 19;
export const CAP_SYS_ADMIN = 21;
export const CAP_SYS_RESOURCE = 24;
export const CAP_BPF = 39;

/** Whether a capability is in this process's effective set. @throws Error of node:fs where there is no /proc */
export function hasCapability(bit: number): boolean {
  const held = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  return (BigInt(`0x${held}`) & (1n << BigInt(bit))) !== 0n;
}
