/**
 * What a probe asks and which answer is good, for probes that are more than an echo request: a TCP handshake, a question to
 * a name server (RFC 1035), a GET over HTTP/1.1 (RFC 9112). Sans-IO: octets to send out, octets that came in; who has sockets,
 * ours or the kernel's, drives it. Knows no time: whoever asks waits as long as it likes.
 */
import type { Addr } from '../lib/addr.ts';
import { buildDnsQuery, DnsRcode, parseDns, sameDnsName } from '../wire/dns.ts';

export const PROBE_KINDS = ['icmp', 'tcp', 'dns', 'http'] as const;
export type ProbeKind = (typeof PROBE_KINDS)[number];

export type ProbeQuestion =
  | { readonly kind: 'icmp' }
  /** The handshake is the answer. */
  | { readonly kind: 'tcp'; readonly port: number }
  | {
      readonly kind: 'dns';
      readonly port: number;
      /** Without a dot at the end; empty = the root. */
      readonly name: string;
      /** Type of the records that are asked for. */
      readonly type: number;
    }
  | {
      readonly kind: 'http';
      readonly port: number;
      readonly path: string;
      /** The Host field; undefined = the address and port that are asked. */
      readonly host: string | undefined;
      /** Status codes that are good; none = 200 to 399. */
      readonly expect: readonly number[];
    };

/** The time a probe took, why there is no answer, or why none can be asked for, which says nothing about the path. */
export type ProbeResult = { readonly rttMs: number } | { readonly reason: string } | { readonly impediment: string };

/** What became of a conversation: good, or why not. */
export type Verdict = { readonly isGood: true } | { readonly isGood: false; readonly reason: string };

export const HTTP_PORT = 80;
const GOOD: Verdict = { isGood: true };
/** Head of a response that a probe reads at most, octets. */
const MAX_HEAD = 16384;
const DNS_ID_MASK = 0xffff;
/** RFC 9110 §15: "A client MUST understand the class of any status code"; 4xx and 5xx are failures. */
const FIRST_FAILURE = 400;
const RCODE_NAMES: Readonly<Record<number, string>> = {
  [DnsRcode.FormErr]: 'FORMERR',
  [DnsRcode.ServFail]: 'SERVFAIL',
  [DnsRcode.NotImp]: 'NOTIMP',
  [DnsRcode.Refused]: 'REFUSED',
};

/** One probe's conversation. */
export interface ProbeTalk {
  readonly transport: 'datagram' | 'stream';
  readonly port: number;
  /** To be sent at once, or when the connection stands; none = the connection itself is the answer. */
  readonly request: Uint8Array;
  /** The next octets of the stream, or a datagram. @returns undefined = more is to come, or it was not meant for us */
  hear(octets: Uint8Array): Verdict | undefined;
}

/** @param random32 32 random bits, for the message id (RFC 5452 §4.3) */
export function talkOf(question: Exclude<ProbeQuestion, { kind: 'icmp' }>, to: Addr, random32: number): ProbeTalk {
  switch (question.kind) {
    case 'tcp':
      return { transport: 'stream', port: question.port, request: new Uint8Array(0), hear: () => GOOD };
    case 'dns':
      return dnsTalk(question, random32 & DNS_ID_MASK);
    case 'http':
      return new HttpTalk(question, to);
  }
}

/** No data and no such name are answers, too: the server is there. One that refuses or fails helps nobody. */
function dnsTalk({ port, name, type }: ProbeQuestion & { readonly kind: 'dns' }, id: number): ProbeTalk {
  return {
    transport: 'datagram',
    port,
    request: buildDnsQuery(id, name, type, 0)!,
    hear: (octets) => {
      const m = parseDns(octets);
      const asked = m?.questions[0];
      if (m === undefined || !m.isResponse || m.id !== id) return undefined;
      if (asked === undefined || asked.type !== type || !sameDnsName(asked.name, name)) return undefined;
      if (m.rcode === DnsRcode.NoError || m.rcode === DnsRcode.NxDomain) return GOOD;
      return { isGood: false, reason: `the name server says ${RCODE_NAMES[m.rcode] ?? `rcode ${m.rcode}`}` };
    },
  };
}

class HttpTalk implements ProbeTalk {
  readonly transport = 'stream';
  readonly port: number;
  readonly request: Uint8Array;
  readonly #expect: readonly number[];
  #head = '';

  constructor({ port, path, host, expect }: ProbeQuestion & { readonly kind: 'http' }, to: Addr) {
    const literal = to.family === 6 ? `[${to}]` : String(to);
    const field = host ?? (port === HTTP_PORT ? literal : `${literal}:${port}`);
    this.port = port;
    this.#expect = expect;
    this.request = new TextEncoder().encode(
      `GET ${path} HTTP/1.1\r\nHost: ${field}\r\nUser-Agent: mlshim\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
    );
  }

  hear(octets: Uint8Array): Verdict | undefined {
    for (const o of octets) this.#head += String.fromCharCode(o);
    for (;;) {
      const line = /^([^\r\n]*)\r?\n/.exec(this.#head)?.[1];
      if (line === undefined) return this.#head.length > MAX_HEAD ? bad('no HTTP response') : undefined;
      const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line)?.[1] ?? Number.NaN);
      if (Number.isNaN(status)) return bad('no HTTP response');
      if (status >= 200) return this.#judge(status);
      // RFC 9110 §15.2: interim responses come before the final one.
      const end = /\r?\n\r?\n/.exec(this.#head);
      if (end === null) return this.#head.length > MAX_HEAD ? bad('no HTTP response') : undefined;
      this.#head = this.#head.slice(end.index + end[0].length);
    }
  }

  #judge(status: number): Verdict {
    const isGood = this.#expect.length === 0 ? status < FIRST_FAILURE : this.#expect.includes(status);
    return isGood ? GOOD : bad(`HTTP status ${status}`);
  }
}

function bad(reason: string): Verdict {
  return { isGood: false, reason };
}
