/** Which process is at the other end of a UNIX socket (unix(7), SO_PEERCRED). */
import type { Socket } from 'node:net';
import { World } from '../lib/world.ts';
import { loadNative } from '../native/index.ts';
import { descriptorOf } from './host-socket.ts';

const ROOM = 65536;
let world: World | undefined;

/** For threads without a World of their own: a small one is made for the answer. */
export function peerPid(socket: Socket): number | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  if (world === undefined) {
    world = new World(ROOM);
    loadNative().attachWorld(world.u8);
  }
  return loadNative().peerCred(fd, 0) < 0 ? undefined : world.i32[0];
}
