/** Which process is at the other end of a UNIX socket (unix(7), SO_PEERCRED). */
import type { Socket } from 'node:net';
import { loadNative } from '../native/index.ts';
import { descriptorOf } from './host-socket.ts';

export function peerPid(socket: Socket): number | undefined {
  const fd = descriptorOf(socket);
  const pid = fd === undefined ? -1 : loadNative().peerPid(fd);
  return pid < 0 ? undefined : pid;
}
