/**
 * The daemon's end of the control socket: listens, decodes requests, calls one handler per verb and writes the answers.
 * Only the owner of the daemon can reach it: the folder has mode 0700, the socket 0600.
 */
import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { ERRORS, MlshimError } from '../lib/errors.ts';
import { decodeRequest, encodeResponse, FrameReader } from './codec.ts';
import type { Answers, Failure, Request, StreamVerb, Verb, Verbs } from './messages.ts';
import { MAX_SOCKET_PATH, type SocketPaths } from './paths.ts';
import { identity } from './process-identity.ts';

/** Sends one more part of a streamed answer; false when the client should not be sent more until `drained`. */
export interface Stream<A> {
  send(part: A): boolean;
  end(): void;
  /** Fires once, when the client has gone or the stream ended. */
  onClose(fn: () => void): void;
}

/** Who asks. */
export interface Client {
  /** As the kernel says (SO_PEERCRED); undefined where nobody has looked. */
  readonly pid: number | undefined;
}

export type Handlers = {
  readonly [V in Exclude<Verb, StreamVerb>]: (args: Verbs[V], client: Client) => Answers[V] | Promise<Answers[V]>;
} & {
  readonly [V in StreamVerb]: (args: Verbs[V], stream: Stream<Answers[V]>) => void | Promise<void>;
};

/** Octets a slow capture reader may leave unread before packets are dropped for it. */
const STREAM_HIGH_WATER = 8 << 20;

/**
 * Make the folder (0700, ours) and make sure no other daemon serves it. Returns a function that ends the critical
 * section: call it when both sockets listen.
 * @throws MlshimError DAEMON_RUNNING
 */
export async function claimFolder(paths: SocketPaths): Promise<() => void> {
  for (const path of [paths.control, paths.shim]) {
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
      throw new MlshimError('USAGE', `the socket path ${path} is longer than ${MAX_SOCKET_PATH} octets`);
  }
  mkdirSync(paths.folder, { recursive: true, mode: 0o700 });
  const stat = lstatSync(paths.folder);
  if (!stat.isDirectory() || stat.uid !== process.getuid!())
    throw new MlshimError('USAGE', `${paths.folder} is not a folder of this user`);
  if ((stat.mode & 0o077) !== 0) chmodSync(paths.folder, 0o700);

  const unlock = lockFolder(paths.folder);
  try {
    if (await isAnswered(paths.control))
      throw new MlshimError('DAEMON_RUNNING', `another mlshim is already running (it serves ${paths.control})`, {
        folder: paths.folder,
      });
    for (const path of [paths.control, paths.shim]) removeSocket(path);
  } catch (e) {
    unlock();
    throw e;
  }
  return unlock;
}

/** One daemon at a time may look for others and replace stale sockets. */
function lockFolder(folder: string): () => void {
  const lock = join(folder, 'starting');
  for (let attempt = 0; ; attempt++) {
    try {
      const fd = openSync(lock, 'wx', 0o600);
      writeSync(fd, identity(process.pid)!);
      closeSync(fd);
      return () => rmSync(lock, { force: true });
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'EEXIST') throw e;
      if (attempt > 0 || isAlive(readText(lock)))
        throw new MlshimError('DAEMON_RUNNING', `another mlshim is starting in ${folder}`, { folder });
      rmSync(lock, { force: true }); // its owner died inside the critical section
    }
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function isAlive(owner: string): boolean {
  const pid = Number(owner.split(' ')[0]);
  return Number.isInteger(pid) && pid > 0 && identity(pid) === owner;
}

/** Whether somebody listens on a UNIX socket. */
export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const s = createConnection(path);
    s.once('connect', () => {
      s.destroy();
      resolve(true);
    });
    s.once('error', () => resolve(false));
  });
}

/** Remove a stale socket; anything that is not a socket is left alone and makes listening fail with its own reason. */
function removeSocket(path: string): void {
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
  }
}

export class ControlServer {
  readonly #handlers: Handlers;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  readonly #pidOf: (socket: Socket) => number | undefined;

  /** @param pidOf the process at the other end of a connection */
  constructor(handlers: Handlers, pidOf: (socket: Socket) => number | undefined = () => undefined) {
    this.#handlers = handlers;
    this.#pidOf = pidOf;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      // No window in which others could connect: the folder is closed to them (claimFolder).
      this.#server.listen(path, () => {
        chmodSync(path, 0o600);
        resolve();
      });
    });
  }

  /** Stop listening (which removes the socket file) and end all clients after their answers are written. */
  close(): void {
    this.#server.close();
    for (const c of this.#clients) c.end();
  }

  #accept(socket: Socket): void {
    const reader = new FrameReader();
    this.#clients.add(socket);
    socket.on('close', () => this.#clients.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.on('data', (octets) => {
      for (const body of reader.push(octets) ?? [undefined]) {
        const request = body && decodeRequest(body);
        if (request === undefined) {
          socket.destroy();
          return;
        }
        void this.#serve(socket, request);
      }
    });
  }

  async #serve(socket: Socket, request: Request): Promise<void> {
    const { id, verb } = request;
    try {
      if (request.verb === 'capture')
        return await this.#handlers.capture(request.args, streamOf(socket, id, 'capture'));
      if (request.verb === 'bgp_watch')
        return await this.#handlers.bgp_watch(request.args, streamOf(socket, id, 'bgp_watch'));
      const handler = this.#handlers[request.verb] as (args: unknown, client: Client) => unknown;
      const body = await handler(request.args, { pid: this.#pidOf(socket) });
      socket.write(encodeResponse(verb, { id, more: false, body }));
    } catch (e) {
      socket.write(encodeResponse(verb, { id, more: false, failure: failureOf(e) }));
    }
  }
}

function streamOf<V extends StreamVerb>(socket: Socket, id: number, verb: V): Stream<Answers[V]> {
  let isOver = false;
  const closers: (() => void)[] = [];
  const close = (): void => {
    if (isOver) return;
    isOver = true;
    for (const fn of closers) fn();
  };
  socket.once('close', close);
  return {
    send: (part) => {
      if (isOver) return false;
      if (socket.writableLength > STREAM_HIGH_WATER) return false;
      socket.write(encodeResponse(verb, { id, more: true, body: part }));
      return true;
    },
    end: () => {
      if (!isOver) socket.write(encodeResponse(verb, { id, more: false }));
      close();
    },
    onClose: (fn) => {
      closers.push(fn);
    },
  };
}

function failureOf(e: unknown): Failure {
  if (e instanceof MlshimError) return { code: e.code, message: e.message, hint: e.hint, exit: e.exit };
  const message = e instanceof Error ? e.message : String(e);
  return { code: 'INTERNAL', message, hint: ERRORS.INTERNAL.hint, exit: ERRORS.INTERNAL.exit };
}
