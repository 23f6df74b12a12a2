/**
 * Where a daemon's two sockets live: `control` (this protocol) and `shim` (the preload library's), side by side in one
 * folder only its owner can enter. MLSHIM_SOCKET names the shim socket; everything else follows from it.
 */
import { dirname, join, resolve } from 'node:path';

export interface SocketPaths {
  readonly folder: string;
  readonly control: string;
  readonly shim: string;
}

/** Longest path a UNIX socket address holds (unix(7): sun_path has 108 octets with the NUL). */
export const MAX_SOCKET_PATH = 107;

export function pathsIn(folder: string): SocketPaths {
  return { folder, control: join(folder, 'control'), shim: join(folder, 'shim') };
}

/** The daemon this environment talks to: MLSHIM_SOCKET's folder, the user's runtime folder, or one in /tmp. */
export function socketPaths(env: NodeJS.ProcessEnv = process.env, uid: number = process.getuid!()): SocketPaths {
  const shim = env['MLSHIM_SOCKET'];
  if (shim !== undefined && shim !== '') return { ...pathsIn(dirname(resolve(shim))), shim: resolve(shim) };
  const runtime = env['XDG_RUNTIME_DIR'];
  return pathsIn(runtime !== undefined && runtime !== '' ? join(runtime, 'mlshim') : `/tmp/mlshim-${uid}`);
}
