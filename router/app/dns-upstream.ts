/** Questions to a name server over the host's own sockets, which leave by the uplink that is asked for. */
import { createSocket } from 'node:dgram';
import { Socket } from 'node:net';
import type { Addr } from '../lib/addr.ts';
import { get16, put16 } from '../lib/bytes.ts';
import type { HostWay } from '../lib/host-way.ts';
import { systemEntropy } from '../lib/rand.ts';
import { loadNative, SOCK_DGRAM, SOCK_STREAM } from '../native/index.ts';
import { DNS_HEADER_LEN, DNS_PORT, type DnsQuestion, parseDns, sameDnsName } from '../wire/dns.ts';
import { bindTo, errnoText, familyNumber, handedOver, reasonOf, zoned } from './host-socket.ts';

export interface Upstream {
  readonly server: Addr;
  readonly way: HostWay;
}

/** What came of a question: the answer as it came, or why there is none. */
export type UpstreamAnswer = { readonly octets: Uint8Array } | { readonly failure: string };

/**
 * Ask over UDP. The port is one that the kernel has chosen for this question alone, the id is ours (RFC 5452 §9).
 * @param query as the asker sent it; the answer has its id again
 * @returns what to call when the answer is not waited for any more
 */
export function askDatagram(
  { server, way }: Upstream,
  query: Uint8Array,
  question: DnsQuestion,
  done: (answer: UpstreamAnswer) => void,
  port = DNS_PORT,
): () => void {
  const fd = boundSocket(server, way, SOCK_DGRAM);
  if (fd < 0) return later(() => done({ failure: errnoText(-fd) }));
  const socket = createSocket(server.family === 4 ? 'udp4' : 'udp6');
  const sent = withRandomId(query);
  const end = once(() => socket.close());
  socket.on('error', (e: NodeJS.ErrnoException) => {
    end();
    done({ failure: reasonOf(e) });
  });
  socket.on('message', (octets) => {
    if (!isAnswerTo(octets, sent, question)) return; // of somebody else, or too late
    end();
    done({ octets: withId(octets, query) });
  });
  socket.bind({ fd }, () => {
    socket.connect(port, zoned(server, way.device), () => socket.send(sent));
  });
  return end;
}

/** Ask over TCP (RFC 7766). */
export function askStream(
  { server, way }: Upstream,
  query: Uint8Array,
  question: DnsQuestion,
  done: (answer: UpstreamAnswer) => void,
  port = DNS_PORT,
): () => void {
  const fd = boundSocket(server, way, SOCK_STREAM);
  if (fd < 0) return later(() => done({ failure: errnoText(-fd) }));
  const socket = new Socket(handedOver(fd));
  const end = once(() => socket.destroy());
  const failed = (failure: string): void => {
    end();
    done({ failure });
  };
  const reader = new StreamReader();
  socket.on('error', (e: NodeJS.ErrnoException) => failed(reasonOf(e)));
  socket.on('end', () => failed('the connection ended without an answer'));
  socket.on('data', (octets) => {
    for (const message of reader.push(octets)) {
      if (!isAnswerTo(message, query, question)) continue;
      end();
      done({ octets: message });
      return;
    }
  });
  socket.connect({ host: zoned(server, way.device), port }, () => socket.write(framed(query)));
  return end;
}

/** Messages of a stream, each behind its length (RFC 1035 §4.2.2). */
export class StreamReader {
  #rest: Uint8Array = new Uint8Array(0);

  push(octets: Uint8Array): Uint8Array[] {
    const found: Uint8Array[] = [];
    let all = this.#rest.length === 0 ? octets : Buffer.concat([this.#rest, octets]);
    while (all.length >= 2 && all.length >= 2 + get16(all, 0)) {
      const end = 2 + get16(all, 0);
      found.push(all.subarray(2, end));
      all = all.subarray(end);
    }
    this.#rest = all;
    return found;
  }
}

export function framed(message: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + message.length);
  put16(out, 0, message.length);
  out.set(message, 2);
  return out;
}

function withRandomId(query: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(query); // `slice` of a Buffer is a view
  copy.set(systemEntropy(2), 0);
  return copy;
}

function withId(answer: Uint8Array, query: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(answer);
  copy.set(query.subarray(0, 2), 0);
  return copy;
}

/** RFC 5452 §9.1: the id and the question must be those that were sent; the addresses are, as the socket is connected. */
function isAnswerTo(octets: Uint8Array, sent: Uint8Array, question: DnsQuestion): boolean {
  if (octets.length < DNS_HEADER_LEN || get16(octets, 0) !== get16(sent, 0)) return false;
  const message = parseDns(octets);
  const asked = message?.questions[0];
  if (message === undefined || !message.isResponse) return false;
  // RFC 2136 §2 aside, an error may come without the question.
  if (asked === undefined) return message.rcode !== 0;
  return asked.type === question.type && asked.class === question.class && sameDnsName(asked.name, question.name);
}

/** A socket that leaves by a way out, or -errno. */
function boundSocket(server: Addr, way: HostWay, type: number): number {
  const fd = loadNative().kernelSocket(familyNumber(server.family), type);
  const errno = fd < 0 ? fd : bindTo(fd, way, server.family);
  return errno < 0 ? errno : fd;
}

function later(fn: () => void): () => void {
  const timer = setImmediate(fn);
  return () => clearImmediate(timer);
}

function once(fn: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    fn();
  };
}
