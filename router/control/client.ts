/** The command line's end of the control socket: one request, its answer or answers, typed by verb. */
import { createConnection, type Socket } from 'node:net';
import { ERRORS, type ErrorCode, MlshimError } from '../lib/errors.ts';
import { decodeResponse, encodeRequest, FrameReader } from './codec.ts';
import type { Answers, Failure, PartsVerb, Request, Response, StreamVerb, Verb, Verbs } from './messages.ts';

export { fieldNames } from './codec.ts';

/** A daemon that accepts a connection answers a read within this time unless it hangs. */
const ANSWER_MS = 10_000;

/**
 * Ask one thing and wait for the answer.
 * @param onConnect told of the connection before the question is
 * @throws MlshimError DAEMON_UNREACHABLE, TIMEOUT, or what the daemon refused with
 */
export async function ask<V extends Exclude<Verb, StreamVerb>>(
  path: string,
  verb: V,
  args: Verbs[V],
  onConnect?: (socket: Socket) => void,
): Promise<Answers[V]> {
  const socket = await connect(path);
  try {
    onConnect?.(socket);
    socket.setTimeout(ANSWER_MS);
    for await (const r of exchange(path, socket, { id: 1, verb, args } as Request)) {
      if (r.failure !== undefined) throw new RemoteError(r.failure);
      return r.body as Answers[V];
    }
    throw left(path, false);
  } finally {
    socket.destroy();
  }
}

/**
 * The parts of an answer, each asked for when the one before has been used.
 * @throws MlshimError DAEMON_UNREACHABLE, TIMEOUT, or what the daemon refused with
 */
export async function* parts<V extends PartsVerb>(path: string, verb: V, args: Verbs[V]): AsyncGenerator<Answers[V]> {
  const socket = await connect(path);
  try {
    socket.setTimeout(ANSWER_MS);
    const answers = exchange(path, socket, { id: 1, verb, args } as Request);
    for await (const r of answers) {
      if (r.failure !== undefined) throw new RemoteError(r.failure);
      const part = r.body as Answers[V];
      socket.setTimeout(0); // the reader may take its time
      yield part;
      if (part.next === '') return;
      socket.setTimeout(ANSWER_MS);
      socket.write(encodeRequest({ id: 1, verb, args: { ...args, from: part.next } } as Request));
    }
    throw left(path, true);
  } finally {
    socket.destroy();
  }
}

/** The parts of a stream, until the signal aborts or the daemon ends. */
export async function* stream<V extends StreamVerb>(
  path: string,
  verb: V,
  args: Verbs[V],
  signal: AbortSignal,
): AsyncGenerator<Answers[V]> {
  const socket = await connect(path);
  const stop = (): void => {
    socket.destroy();
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const r of exchange(path, socket, { id: 1, verb, args } as Request)) {
      if (r.failure !== undefined) throw new RemoteError(r.failure);
      if (r.body !== undefined) yield r.body as Answers[V];
      if (!r.more) return;
    }
  } catch (e) {
    if (!signal.aborted) throw e;
  } finally {
    signal.removeEventListener('abort', stop);
    socket.destroy();
  }
}

/** Whether somebody serves there. */
export function isServed(path: string): Promise<boolean> {
  return connect(path).then(
    (socket) => {
      socket.destroy();
      return true;
    },
    () => false,
  );
}

function connect(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (e: NodeJS.ErrnoException) => {
      const why =
        e.code === 'ENOENT' ? 'no daemon runs there' : e.code === 'ECONNREFUSED' ? 'the daemon is gone' : e.code;
      reject(new MlshimError('DAEMON_UNREACHABLE', `cannot reach the daemon at ${path}: ${why}`, { path }));
    });
  });
}

async function* exchange(path: string, socket: Socket, request: Request): AsyncGenerator<Response> {
  const reader = new FrameReader();
  let hasAnswered = false;
  socket.once('timeout', () => socket.destroy(new MlshimError('TIMEOUT', 'the daemon did not answer in time')));
  socket.write(encodeRequest(request));
  try {
    for await (const octets of socket as AsyncIterable<Uint8Array>) {
      for (const body of reader.push(octets) ?? [undefined]) {
        const r = body && decodeResponse(body);
        if (r === undefined) throw new MlshimError('INTERNAL', 'the daemon sent something that is not an answer');
        hasAnswered = true;
        yield r;
      }
    }
  } catch (e) {
    // One that ends before it has read the question resets the connection.
    throw ['ECONNRESET', 'EPIPE'].includes((e as NodeJS.ErrnoException).code ?? '') ? left(path, hasAnswered) : e;
  }
}

/** The daemon was there when it was asked. */
function left(path: string, hasAnswered: boolean): MlshimError {
  const when = hasAnswered ? 'in the middle of an answer' : 'without an answer';
  return new MlshimError('DAEMON_UNREACHABLE', `the daemon closed the connection ${when}`, { path, wasThere: true });
}

/** A refusal of the daemon, with the hint it filled in. */
class RemoteError extends MlshimError {
  readonly #hint: string;

  constructor(f: Failure) {
    super(f.code in ERRORS ? (f.code as ErrorCode) : 'INTERNAL', f.message);
    this.#hint = f.hint;
  }

  override get hint(): string {
    return this.#hint;
  }
}
