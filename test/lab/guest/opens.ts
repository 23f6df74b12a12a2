/** Sockets of an application in the guest, and where each of them went. */
import { join } from 'node:path';
import { VIDEO } from '../../kit/access-lines.ts';
import { SERVER } from '../../kit/isps.ts';

/** One socket: when it began (ms of the clock), and the address the server saw, or why there was none. */
export interface Opened {
  readonly at: number;
  readonly from?: string;
  readonly error?: string;
}

export const ECHO_PORT = 7000;

export type OpenKind = 'tcp' | 'udp' | 'udp-connected';

const program = (name: string): string => join(import.meta.dirname, `${name}.js`);

/** Command of a server that tells clients their addresses. @param addresses where it listens; the server's own unless said */
export const echoServer = (addresses: readonly string[] = [SERVER.v4, VIDEO.v4, SERVER.v6]): string[] => [
  process.execPath,
  program('echo-main'),
  String(ECHO_PORT),
  ...addresses,
];

export interface Opening {
  /** One address after the other where there are several. */
  readonly to?: string | readonly string[];
  /** 0 goes on until SIGTERM. */
  readonly count: number;
  readonly atOnce?: number;
  /** A socket each so many ms, however long each takes. */
  readonly everyMs?: number;
}

/** Command of an application that opens sockets to it, of one kind after the other where there are several. */
export const opener = (
  kinds: OpenKind | readonly OpenKind[],
  { to = SERVER.v4, count, atOnce = 1, everyMs = 0 }: Opening,
): string[] => [
  process.execPath,
  program('opens-main'),
  String(kinds),
  String(to),
  ...[ECHO_PORT, count, atOnce, everyMs].map(String),
];

export const readOpened = (stdout: string): Opened[] =>
  stdout
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Opened);

/** How many by address or error. */
export function tally(opened: readonly Opened[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { from, error } of opened) {
    const key = from ?? error ?? '';
    found[key] = (found[key] ?? 0) + 1;
  }
  return found;
}
