/** The host's own name servers (resolv.conf(5)). */
import { readFileSync } from 'node:fs';
import { Addr } from '../lib/addr.ts';

/** Whom systemd-resolved asks itself (systemd-resolved.service(8)). */
const BEHIND_STUB = '/run/systemd/resolve/resolv.conf';

/** Addresses as they are written; none when there is no such file. */
export function hostNameServers(): string[] {
  return serversIn('/etc/resolv.conf');
}

/** Name servers of the network: those of the host, or whom a stub of the host asks. */
export function upstreamNameServers(): string[] {
  const isOfNetwork = (server: string): boolean => Addr.parse(server)?.isLoopback !== true;
  const own = hostNameServers().filter(isOfNetwork);
  return own.length > 0 ? own : serversIn(BEHIND_STUB).filter(isOfNetwork);
}

function serversIn(file: string): string[] {
  try {
    const text = readFileSync(file, 'utf8');
    return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((m) => m[1]!);
  } catch {
    return [];
  }
}
