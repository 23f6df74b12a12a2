/**
 * The border to the resolver (resolver.ts): getaddrinfo and getnameinfo as questions with an answer that comes later,
 * from inside a turn of the loop. `status` is 0 or a negative EAI_ code of netdb.h.
 */
import type { SockAddr } from './sockaddr.ts';

export interface AddrInfo {
  readonly sockType: number;
  readonly protocol: number;
  readonly addr: SockAddr;
}

export interface ResolveQuestion {
  /** Process that asks. */
  readonly pid: number;
  /** Empty = the host itself. */
  readonly host: string;
  /** Name or number; empty = port 0. */
  readonly service: string;
  /** AF_UNSPEC, AF_INET, AF_INET6. */
  readonly family: number;
  readonly sockType: number;
  readonly protocol: number;
  /** AI_* bits. */
  readonly flags: number;
}

export interface NameInfoQuestion {
  readonly pid: number;
  readonly addr: SockAddr;
  /** NI_* bits. */
  readonly flags: number;
}

export interface NamePort {
  resolve(
    question: ResolveQuestion,
    done: (status: number, entries: readonly AddrInfo[], canonical: string) => void,
  ): void;
  nameInfo(question: NameInfoQuestion, done: (status: number, host: string, service: string) => void): void;
}
