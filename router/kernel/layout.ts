/**
 * The tables of policy as the programs read them: twin of bpf/policy.h, where the words are explained. A test compiles a C
 * program that prints sizes and offsets and compares. Numbers are those of this machine's byte order.
 */
import { endianness } from 'node:os';

export const SCHEMA = 2;
export const GENERATIONS = 4;
export const WAYS = 256;
export const RESOLVERS = 3;
export const RING = 512;
export const MEMBERS = 32;

/** Words of a quad, the unit of `words`. */
export const QUAD = 4;

export const Head = { Flags: 0, Class: 1, Lists: 2, Rules: 3 } as const;
export const Flag = { Cgroups: 1, Users: 2, Processes: 4, Names: 8, Sources: 16, Strict: 32 } as const;
export const ClassWord = { Table: 0, Anywhere: 1, Forwarder: 2, Anywhere6: 3 } as const;
export const RuleWord = { Action: 0, Target: 1, Flags: 2 } as const;
export const Action = { Group: 0, Way: 1, Main: 2, Reject: 3 } as const;
export const RuleFlag = { ForPing: 1 } as const;
export const GroupWord = { Balance: 0, Ring: 1, Length: 2, Turn: 3 } as const;
export const KeyKind = { Cgroup: 1, User: 2, Process: 3, Name: 4, Class: 5, Member: 6 } as const;
export const Member = { Usable: 1, Drained: 2 } as const;

/** Words of a key of `keys`, and of `prefixes`. */
export const KEY_WORDS = 5;
export const PREFIX_WORDS = 6;
/** Added to a table's number for IPv6. */
export const TABLE_V6 = 0x40000000;
export const TABLE_SOURCES = 0xbfffffff;
export const TABLE_OWN = 0xbffffffe;
export const OWN_MAIN = 0xffff;

export const WayFlag = { Device: 1, Vrf: 2 } as const;

/** struct mls_way: octet offsets. */
export const Way = {
  Device: 0,
  Flags: 16,
  Ifindex: 20,
  Source4: 24,
  Resolvers4: 28,
  Dns4: 32,
  Resolvers6: 44,
  Source6: 48,
  Dns6: 64,
  Size: 112,
} as const;
export const DEVICE_ROOM = 16;

/** struct mls_load: octet offsets. */
export const Load = { Used: 0, Share: 8, Fresh: 16, Carries: 24, Size: 32 } as const;

/** struct mls_way_count. */
export const WayCount = { Bound: 0, Failed: 8, Dns: 16, Size: 24 } as const;

/** enum mls_total: indices. */
export const Total = {
  Unmatched: 0,
  Rejected: 1,
  NoUplink: 2,
  StrictRefused: 3,
  ForeignNetns: 4,
  Forwarded: 5,
} as const;

export const Settings = { Netns: 0, Owner: 8, Size: 16 } as const;

const IS_LITTLE = endianness() === 'LE';

/** A word of an address (most significant octet first) as a number of this machine that has the same octets in memory. */
export function networkWord(word: number): number {
  return IS_LITTLE
    ? ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)
    : word | 0;
}
