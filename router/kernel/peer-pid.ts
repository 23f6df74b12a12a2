/** Which process is at the other end of a UNIX socket (unix(7), SO_PEERCRED): the one that connected, or that listens. */
import { loadNative } from '../native/index.ts';

/** @returns undefined also where that process has no id in our PID namespace */
export function peerPid(socket: object): number | undefined {
  const fd = descriptorOf(socket);
  const pid = fd === undefined ? -1 : loadNative().peerPid(fd);
  return pid <= 0 ? undefined : pid;
}

/** The descriptor of a connection that Node has. It has no public name. */
export function descriptorOf(socket: object): number | undefined {
  const { _handle: handle } = socket as { readonly _handle?: { readonly fd?: number } };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}
