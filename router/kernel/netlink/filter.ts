/**
 * Classic BPF programs for netlink sockets (linux/filter.h): what nobody wants is not even queued. A program reads words
 * in network order, and netlink's are in the machine's, so the values it compares with are turned around here.
 */
import { NLMSG_HEADER, Rtm, wordsOf } from '../../wire/netlink.ts';
import { PROCESS_FILTER } from './process.ts';

const Op = {
  LoadWord: 0x20,
  LoadHalf: 0x28,
  LoadByte: 0x30,
  IfValue: 0x15,
  IfX: 0x1d,
  ToX: 0x07,
  Return: 0x06,
} as const;
const WHOLE = 0xffffffff;

/** [operation, steps over when true, steps over when false, value] */
type Instruction = readonly [number, number, number, number];

function assemble(program: readonly Instruction[]): Uint8Array {
  const octets = new Uint8Array(8 * program.length);
  const words = wordsOf(octets);
  for (const [i, [op, yes, no, value]] of program.entries()) {
    words.setUint16(8 * i, op, true);
    octets[8 * i + 2] = yes;
    octets[8 * i + 3] = no;
    words.setUint32(8 * i + 4, value >>> 0, true);
  }
  return octets;
}

function swapped16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

function swapped32(value: number): number {
  return (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

/** `nlmsg_type`, and `rtm_protocol` of a route. */
const TYPE_AT = 4;
const PROTOCOL_AT = NLMSG_HEADER + 5;

/** All but routes of a protocol: a daemon need not hear of its own. */
export function withoutRoutesOf(protocol: number): Uint8Array {
  return assemble([
    [Op.LoadHalf, 0, 0, TYPE_AT],
    [Op.IfValue, 2, 0, swapped16(Rtm.NewRoute)],
    [Op.IfValue, 1, 0, swapped16(Rtm.DelRoute)],
    [Op.Return, 0, 0, WHOLE],
    [Op.LoadByte, 0, 0, PROTOCOL_AT],
    [Op.IfValue, 0, 1, protocol],
    [Op.Return, 0, 0, 0],
    [Op.Return, 0, 0, WHOLE],
  ]);
}

/** Starts, programs, users and ends of processes, not of their threads. */
export function wholeProcesses(): Uint8Array {
  const { whatAt, what, exitAt, forkAt } = PROCESS_FILTER;
  return assemble([
    [Op.LoadWord, 0, 0, whatAt],
    [Op.IfValue, 12, 0, swapped32(what.Exec)],
    [Op.IfValue, 11, 0, swapped32(what.Uid)],
    [Op.IfValue, 2, 0, swapped32(what.Exit)],
    [Op.IfValue, 5, 0, swapped32(what.Fork)],
    [Op.Return, 0, 0, 0],
    [Op.LoadWord, 0, 0, exitAt[0]],
    [Op.ToX, 0, 0, 0],
    [Op.LoadWord, 0, 0, exitAt[1]],
    [Op.IfX, 4, 5, 0],
    [Op.LoadWord, 0, 0, forkAt[0]],
    [Op.ToX, 0, 0, 0],
    [Op.LoadWord, 0, 0, forkAt[1]],
    [Op.IfX, 0, 1, 0],
    [Op.Return, 0, 0, WHOLE],
    [Op.Return, 0, 0, 0],
  ]);
}
