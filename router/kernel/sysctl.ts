/** Settings below /proc/sys/net of this network namespace. */
import { readFileSync, writeFileSync } from 'node:fs';

/** undefined where this kernel has no such setting. @param name with slashes: ipv4/tcp_l3mdev_accept */
export function readSysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/net/${name}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** @throws Error of node:fs */
export function writeSysctl(name: string, value: string): void {
  writeFileSync(`/proc/sys/net/${name}`, value);
}
