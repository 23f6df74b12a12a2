/**
 * The socket that speaks BIRD's control protocol, for looking glasses and exporters: lines in, replies out, one command
 * after another per client. Replies come in parts; the next part is asked for when the client has taken the last one, so
 * a full table costs neither memory nor long turns. Only the owner and the group can open it (mode 0660).
 */
import { chmodSync, existsSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { type BirdCommand, MAX_COMMAND, Mistake, parseCommand } from '../birdctl/command.ts';
import { Code, type Line, ReplyText } from '../birdctl/reply.ts';
import { MAX_SOCKET_PATH } from '../control/paths.ts';
import { isAnswered } from '../control/server.ts';
import { MlshimError } from '../lib/errors.ts';
import { systemReason } from '../lib/reason.ts';
import { BIRD_VERSION, type BirdPart, type BirdPosition } from './bird-answers.ts';

export interface BirdBackend {
  answer(command: BirdCommand, from: BirdPosition | undefined): Promise<BirdPart>;
  /** Carry `configure` out. @returns its lines and how it ends */
  configure(command: Extract<BirdCommand, { readonly kind: 'configure' }>): Promise<readonly [Line[], Line]>;
}

/** Clients at a time; the next one is turned away. */
const MAX_CLIENTS = 64;
/** A reply waits when this much of it has not been taken. */
const HIGH_WATER = 256 << 10;

export class BirdSocket {
  readonly #backend: BirdBackend;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  #path: string | undefined;

  constructor(backend: BirdBackend) {
    this.#backend = backend;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** @throws MlshimError DAEMON_RUNNING when something answers there, USAGE when it cannot be listened on */
  async listen(path: string): Promise<void> {
    const hindrance = hindranceAt(path);
    if (hindrance !== undefined) throw refusal(path, hindrance);
    if (await isAnswered(path)) {
      throw new MlshimError('DAEMON_RUNNING', `another daemon serves the bird_socket ${path}`, { folder: path });
    }
    try {
      rmSync(path, { force: true }); // a socket that nobody serves, or nothing
    } catch (e) {
      throw refusal(path, systemReason(e));
    }
    const before = process.umask(0o117); // no moment in which others could connect
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', (e: NodeJS.ErrnoException) => {
          reject(refusal(path, systemReason(e)));
        });
        this.#server.listen(path, resolve);
      });
    } finally {
      process.umask(before);
    }
    chmodSync(path, 0o660);
    this.#path = path;
  }

  close(): void {
    if (this.#path === undefined) return;
    this.#server.close();
    for (const c of this.#clients) c.destroy();
  }

  #accept(socket: Socket): void {
    if (this.#clients.size >= MAX_CLIENTS) {
      socket.destroy();
      return;
    }
    this.#clients.add(socket);
    socket.on('close', () => this.#clients.delete(socket));
    socket.on('error', () => socket.destroy());
    void new BirdClient(socket, this.#backend).serve();
  }
}

class BirdClient {
  readonly #socket: Socket;
  readonly #backend: BirdBackend;
  #isRestricted = false;

  constructor(socket: Socket, backend: BirdBackend) {
    this.#socket = socket;
    this.#backend = backend;
  }

  async serve(): Promise<void> {
    const socket = this.#socket;
    socket.write(new ReplyText().end([Code.Welcome, `BIRD ${BIRD_VERSION} ready.`]));
    let rest = '';
    try {
      // The loop takes no more commands while one is being answered: a fast writer waits in its socket buffer.
      for await (const octets of socket as AsyncIterable<Buffer>) {
        const lines = (rest + octets.toString('latin1')).split('\n');
        rest = lines.pop()!;
        for (const line of lines) await this.#command(line.replace(/\r$/, ''));
        if (rest.length > MAX_COMMAND) {
          socket.end(new ReplyText().end([Code.Mistake, 'Command too long']));
          return;
        }
      }
    } catch {
      socket.destroy(); // the client left in the middle of a reply, or the daemon is stopping
    }
  }

  async #command(line: string): Promise<void> {
    const command = line.length > MAX_COMMAND ? new Mistake('Command too long') : parseCommand(line);
    if (command instanceof Mistake) return this.#end([Code.Mistake, command.text]);
    switch (command.kind) {
      case 'restrict':
        this.#isRestricted = true;
        return this.#end([Code.AccessRestricted, 'Access restricted']);
      case 'enable':
      case 'disable':
      case 'restart':
      case 'reload':
      case 'configure':
        if (this.#isRestricted) return this.#end([Code.AccessDenied, 'Access denied']);
    }
    if (command.kind === 'configure') {
      const [lines, end] = await this.#backend.configure(command);
      const reply = new ReplyText();
      return this.#write(reply.part(lines) + reply.end(end));
    }
    let from: BirdPosition | undefined;
    do {
      const part = await this.#backend.answer(command, from);
      await this.#write(part.text);
      from = part.next;
    } while (from !== undefined);
  }

  #end(line: Line): Promise<void> {
    return this.#write(new ReplyText().end(line));
  }

  /** Resolves when the client has taken most of what was written. Rejects when it has gone. */
  #write(text: string): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed) return Promise.reject(new Error('gone'));
    socket.write(text);
    if (socket.writableLength < HIGH_WATER) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = (): void => {
        socket.off('drain', done);
        socket.off('close', gone);
        resolve();
      };
      const gone = (): void => reject(new Error('gone'));
      socket.once('drain', done);
      socket.once('close', gone);
    });
  }
}

/** Why nobody could listen there: a longer path would be cut, and something served under a name that was not meant. */
function hindranceAt(path: string): string | undefined {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) return `it is longer than ${MAX_SOCKET_PATH} octets`;
  if (!existsSync(dirname(path))) return 'its folder does not exist';
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false ? 'something else is there' : undefined;
  } catch (e) {
    return systemReason(e);
  }
}

function refusal(path: string, why: string): MlshimError {
  return new MlshimError('USAGE', `cannot listen on the bird_socket ${path}: ${why}`);
}
