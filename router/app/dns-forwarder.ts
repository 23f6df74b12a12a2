/**
 * The name server that programs are led to while rules name domains (kernel backend): it asks through the uplink that a
 * connection to the name will take, and tells what it learned before it answers, so that the first connection is decided by
 * the name. Has a port of loopback for each class of processes, since the same name may go other ways for other programs.
 * Keeps no cache: programs and name servers have theirs.
 */
import { createSocket, type Socket as DatagramSocket, type RemoteInfo } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { Addr } from '../lib/addr.ts';
import type { Logger } from '../lib/log.ts';
import {
  buildDns,
  DNS_CLASS_IN,
  DNS_PORT,
  type DnsMessage,
  type DnsQuestion,
  DnsRcode,
  dnsNameKey,
  parseDns,
} from '../wire/dns.ts';
import { askDatagram, askStream, framed, StreamReader, type Upstream } from './dns-upstream.ts';

/** A server that is silent for so long is not waited for. */
const TIMEOUT_MS = 2000;
/** Questions on their way at most; others are refused. */
const MAX_QUESTIONS = 1024;
/** A client that says nothing for so long is let go (RFC 7766 §6.2.3). */
const IDLE_MS = 10_000;
const MAX_CLIENTS = 256;
/** Ports tried until one is free for both transports and families. */
const MAX_TRIES = 16;
const LOOPBACK4 = '127.0.0.1';
const LOOPBACK6 = '::1';

export interface ForwarderPort {
  /** Whom to ask for a name, in order, when a process of the class asks; none = the name is refused. */
  upstreams(classId: number, name: string): readonly Upstream[];
  /** An answer said that the name has the address. */
  learned(name: string, addr: Addr, ttlS: number): void;
}

export class DnsForwarder {
  readonly #port: ForwarderPort;
  readonly #log: Logger;
  readonly #upstreamPort: number;
  readonly #classes = new Map<number, ClassServer>();
  readonly #pending = new Set<() => void>();
  #isClosed = false;

  /** @param upstreamPort of name servers; tests have another one */
  constructor(port: ForwarderPort, log: Logger, upstreamPort: number = DNS_PORT) {
    this.#port = port;
    this.#log = log;
    this.#upstreamPort = upstreamPort;
  }

  /** Have a port for each of these classes, and for no others. @param ready told of each that is new */
  async serve(classes: readonly number[], ready: (classId: number, port: number) => void): Promise<void> {
    for (const [id, server] of this.#classes)
      if (!classes.includes(id)) {
        server.close();
        this.#classes.delete(id);
      }
    for (const id of classes) {
      if (this.#classes.has(id)) continue;
      const server = new ClassServer((query, isStream, answer) => this.#ask(id, query, isStream, answer));
      this.#classes.set(id, server);
      try {
        const port = await server.listen();
        if (this.#isClosed) server.close();
        else if (this.#classes.get(id) === server) ready(id, port);
      } catch (e) {
        this.#classes.delete(id);
        this.#log.error('no port for names of rules', { error: e instanceof Error ? e.message : String(e) });
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const server of this.#classes.values()) server.close();
    this.#classes.clear();
    for (const cancel of this.#pending) cancel();
    this.#pending.clear();
  }

  /** @param answer called once, or not at all for what is no question */
  #ask(classId: number, query: Uint8Array, isStream: boolean, answer: (octets: Uint8Array) => void): void {
    const message = parseDns(query);
    const question = message?.questions[0];
    if (message === undefined || message.isResponse || question === undefined) return;
    if (this.#pending.size >= MAX_QUESTIONS) {
      answer(refusal(message, DnsRcode.ServFail));
      return;
    }
    const upstreams = this.#port.upstreams(classId, dnsNameKey(question.name));
    if (upstreams.length === 0) answer(refusal(message, DnsRcode.Refused));
    else this.#askNext(upstreams, query, message, question, isStream, answer);
  }

  #askNext(
    upstreams: readonly Upstream[],
    query: Uint8Array,
    message: DnsMessage,
    question: DnsQuestion,
    isStream: boolean,
    answer: (octets: Uint8Array) => void,
  ): void {
    const [upstream, ...others] = upstreams;
    if (upstream === undefined) {
      answer(refusal(message, DnsRcode.ServFail));
      return;
    }
    const next = (): void => {
      end();
      if (!this.#isClosed) this.#askNext(others, query, message, question, isStream, answer);
    };
    const ask = isStream ? askStream : askDatagram;
    const cancel = ask(
      upstream,
      query,
      question,
      (found) => {
        if ('failure' in found) {
          next();
          return;
        }
        end();
        this.#learn(question, found.octets);
        answer(found.octets);
      },
      this.#upstreamPort,
    );
    const timer = setTimeout(() => {
      cancel();
      next();
    }, TIMEOUT_MS);
    const stop = (): void => {
      clearTimeout(timer);
      cancel();
    };
    this.#pending.add(stop);
    const end = (): void => {
      clearTimeout(timer);
      this.#pending.delete(stop);
    };
  }

  /** The name that was asked for has the addresses, whatever other names it stands for. */
  #learn(question: DnsQuestion, octets: Uint8Array): void {
    const answer = parseDns(octets);
    if (answer === undefined || question.class !== DNS_CLASS_IN) return;
    for (const { data, ttlS } of answer.answers)
      if (data.kind === 'address') this.#port.learned(dnsNameKey(question.name), data.addr, ttlS);
  }
}

/** An answer without data. */
function refusal(query: DnsMessage, rcode: number): Uint8Array {
  return buildDns({
    ...query,
    isResponse: true,
    isAuthoritative: false,
    isTruncated: false,
    recursionAvailable: true,
    rcode,
    answers: [],
    authorities: [],
    additionals: [],
  })!;
}

type Ask = (query: Uint8Array, isStream: boolean, answer: (octets: Uint8Array) => void) => void;

/** One port of loopback, over UDP and TCP, IPv4 and, where there is, IPv6. */
class ClassServer {
  readonly #ask: Ask;
  #sockets: DatagramSocket[] = [];
  #servers: Server[] = [];
  readonly #clients = new Set<Socket>();

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** @returns the port. Rejects when there is none */
  async listen(): Promise<number> {
    for (let tries = 1; ; tries++) {
      try {
        const port = await this.#datagrams(LOOPBACK4, 0);
        await this.#streams(LOOPBACK4, port);
        await this.#ifThere(this.#datagrams(LOOPBACK6, port));
        await this.#ifThere(this.#streams(LOOPBACK6, port));
        return port;
      } catch (e) {
        this.close();
        if ((e as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries >= MAX_TRIES) throw e;
      }
    }
  }

  close(): void {
    for (const s of this.#sockets) s.close();
    for (const s of this.#servers) s.close();
    for (const c of this.#clients) c.destroy();
    this.#sockets = [];
    this.#servers = [];
  }

  /** A host may be without IPv6. */
  async #ifThere(listening: Promise<number>): Promise<void> {
    try {
      await listening;
    } catch (e) {
      const { code = '' } = e as NodeJS.ErrnoException;
      if (!['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(code)) throw e;
    }
  }

  #datagrams(address: string, port: number): Promise<number> {
    const socket = createSocket(address === LOOPBACK6 ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' });
    return new Promise((resolve, reject) => {
      socket.once('error', (e) => {
        socket.close();
        reject(e);
      });
      socket.bind({ address, port }, () => {
        socket.removeAllListeners('error');
        socket.on('error', () => undefined); // an asker that is gone
        socket.on('message', (query, from) => this.#onDatagram(socket, query, from));
        this.#sockets.push(socket);
        resolve(socket.address().port);
      });
    });
  }

  #onDatagram(socket: DatagramSocket, query: Uint8Array, from: RemoteInfo): void {
    this.#ask(query, false, (octets) => {
      if (this.#sockets.includes(socket)) socket.send(octets, from.port, from.address);
    });
  }

  #streams(host: string, port: number): Promise<number> {
    const server = createServer((client) => this.#onClient(client));
    server.maxConnections = MAX_CLIENTS;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, ipv6Only: true }, () => {
        this.#servers.push(server);
        resolve(port);
      });
    });
  }

  #onClient(client: Socket): void {
    this.#clients.add(client);
    client.on('close', () => this.#clients.delete(client));
    client.on('error', () => client.destroy());
    client.setTimeout(IDLE_MS, () => client.destroy());
    const reader = new StreamReader();
    client.on('data', (octets) => {
      for (const query of reader.push(octets))
        this.#ask(query, true, (answer) => {
          if (!client.destroyed) client.write(framed(answer));
        });
    });
  }
}
