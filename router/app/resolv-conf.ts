/** The host's own name servers (resolv.conf(5)). */
import { readFileSync } from 'node:fs';

/** Addresses as they are written; none when there is no such file. */
export function hostNameServers(): string[] {
  try {
    const text = readFileSync('/etc/resolv.conf', 'utf8');
    return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((m) => m[1]!);
  } catch {
    return [];
  }
}
