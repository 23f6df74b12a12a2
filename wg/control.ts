/**
 * The control protocol of the WireGuard child, without its socket: blocks of key=value lines ended by an empty line;
 * answers come in the order of the requests and end with errno=N; blocks that start with event= are the child's notes.
 */

/** An answer: its lines without the closing errno line. */
export interface WgReply {
  readonly errno: number;
  readonly lines: readonly string[];
}

type OnEvent = (kind: string, fields: ReadonlyMap<string, string>) => void;

const MAX_LINE = 1 << 20;

export class ControlChannel {
  readonly #write: (text: string) => void;
  readonly #onEvent: OnEvent;
  readonly #pending: ((reply: WgReply | undefined) => void)[] = [];
  #partial = '';
  #block: string[] = [];
  #ended = false;

  constructor(write: (text: string) => void, onEvent: OnEvent) {
    this.#write = write;
    this.#onEvent = onEvent;
  }

  /** Send the lines of one block; undefined when the child ended before it answered. */
  request(lines: string): Promise<WgReply | undefined> {
    if (this.#ended) return Promise.resolve(undefined);
    const reply = new Promise<WgReply | undefined>((resolve) => this.#pending.push(resolve));
    this.#write(`${lines}\n`);
    return reply;
  }

  /** Take what the socket read. False: the other side does not speak the protocol. */
  received(text: string): boolean {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop()!;
    for (const line of lines) {
      if (line !== '') this.#block.push(line);
      else if (this.#block.length > 0) {
        const block = this.#block;
        this.#block = [];
        this.#blockReceived(block);
      }
    }
    return this.#partial.length <= MAX_LINE;
  }

  /** The socket closed: whoever waits gets undefined. */
  end(): void {
    this.#ended = true;
    for (const resolve of this.#pending.splice(0)) resolve(undefined);
  }

  #blockReceived(block: string[]): void {
    const first = block[0]!;
    if (first.startsWith('event=')) {
      const fields = new Map<string, string>();
      for (const line of block.slice(1)) {
        const eq = line.indexOf('=');
        fields.set(line.slice(0, eq), line.slice(eq + 1));
      }
      this.#onEvent(first.slice('event='.length), fields);
      return;
    }
    const last = block.pop()!;
    const errno = last.startsWith('errno=') ? Number(last.slice('errno='.length)) : Number.NaN;
    this.#pending.shift()?.({ errno, lines: block });
  }
}
