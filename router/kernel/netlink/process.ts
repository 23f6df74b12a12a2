/** Events of processes: the kernel's connector (linux/connector.h, linux/cn_proc.h). */
import { type NetlinkWriter, NLMSG_HEADER, wordsOf } from '../../wire/netlink.ts';

/** The connector's multicast group of process events; its messages carry the type of an end mark. */
export const PROCESS_GROUP = 1;
export const CONNECTOR_TYPE = 3;

const CN_PROC = 1;
const CN_MESSAGE = 20;
const LISTEN = 1;
const EVENT_AT = NLMSG_HEADER + CN_MESSAGE;
/** What comes before the facts of an event: what, CPU, time. */
const EVENT_HEADER = 16;
const FACTS_AT = EVENT_AT + EVENT_HEADER;
const What = { Fork: 1, Exec: 2, Uid: 4, Exit: 0x80000000 } as const;

export type ProcessEvent =
  | { readonly kind: 'fork'; readonly pid: number; readonly parent: number }
  | { readonly kind: 'exec'; readonly pid: number }
  | { readonly kind: 'uid'; readonly pid: number; readonly uid: number }
  | { readonly kind: 'exit'; readonly pid: number };

/** The body that asks for the events. */
export function writeListen(w: NetlinkWriter): void {
  w.u32(CN_PROC).u32(CN_PROC).u32(0).u32(0).u16(4).u16(0).u32(LISTEN);
}

/** An event of a whole process; undefined for those of threads and of other kinds. */
export function decodeProcessEvent(m: Uint8Array): ProcessEvent | undefined {
  if (m.length < FACTS_AT + 16) return undefined;
  const words = wordsOf(m);
  if (words.getUint32(NLMSG_HEADER, true) !== CN_PROC) return undefined;
  const fact = (i: number): number => words.getUint32(FACTS_AT + 4 * i, true);
  switch (words.getUint32(EVENT_AT, true)) {
    case What.Fork:
      return fact(2) === fact(3) ? { kind: 'fork', pid: fact(3), parent: fact(1) } : undefined;
    case What.Exec:
      return { kind: 'exec', pid: fact(1) };
    case What.Uid:
      return { kind: 'uid', pid: fact(1), uid: fact(3) };
    case What.Exit:
      return fact(0) === fact(1) ? { kind: 'exit', pid: fact(1) } : undefined;
    default:
      return undefined;
  }
}

/** Places and values for the filter that leaves threads and other kinds in the kernel. */
export const PROCESS_FILTER = {
  whatAt: EVENT_AT,
  what: What,
  /** Where process and thread group of an exit are, and of a fork's child. */
  exitAt: [FACTS_AT, FACTS_AT + 4],
  forkAt: [FACTS_AT + 8, FACTS_AT + 12],
} as const;
