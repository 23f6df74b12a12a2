/** Stands between two BGP speakers of foreign parts and writes down every message of both, for golden files. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { MessageReader } from '../../../bgp/wire/message.ts';

export interface Side {
  /** As the golden file calls it. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

export class Relay {
  /** `NAME OCTETS` in the order in which they came; of a side's KEEPALIVEs only the first. */
  readonly lines: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /** `from` connects to `at`, as if `to` were there; `to` sees the same address as its peer. */
  constructor(from: Side, to: Side, at: { readonly address: string; readonly port: number }) {
    this.#server = createServer((inward) => {
      const outward = connect({ host: to.address, port: to.port, localAddress: at.address });
      this.#copy(inward, outward, from.name);
      this.#copy(outward, inward, to.name);
    });
    this.#server.listen(at.port, at.address);
  }

  #copy(source: Socket, target: Socket, name: string): void {
    const reader = new MessageReader();
    reader.allowsExtended = true;
    this.#sockets.add(source);
    source.on('data', (octets) => {
      target.write(octets);
      reader.push(octets);
      for (let m = reader.next(); m !== undefined; m = reader.next()) {
        if ('handling' in m) throw new Error(`${name}: ${m.words}`);
        this.#note(name, m.type, m.body);
      }
    });
    source.on('error', () => target.destroy());
    source.on('close', () => target.end());
  }

  #note(name: string, type: number, body: Uint8Array): void {
    const head = Buffer.alloc(19, 0xff);
    head.writeUInt16BE(19 + body.length, 16);
    head[18] = type;
    const line = `${name} ${Buffer.concat([head, body]).toString('hex')}`;
    if (body.length > 0 || !this.lines.includes(line)) this.lines.push(line);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
