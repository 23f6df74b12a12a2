/**
 * The memory shared with the WireGuard child: numbers only. Described in wg/README.md; the twin is wg/child/ring.go, and
 * test/wg/ring-layout.test.ts compares the two. All words are little-endian 32-bit, positions wrap at 2^32.
 */

export const RING_MAGIC = 0x4d4c5747; // "MLWG"
export const RING_VERSION = 1;
export const HEADER_BYTES = 8192;
/** Octets of each of the two rings: measured, larger ones gain nothing. */
export const RING_BYTES = 4 << 20;
export const MIN_RING_BYTES = 256 << 10;
export const MAX_RING_BYTES = 64 << 20;

/** Octet offsets in the header area. */
export const HeaderOffset = {
  Magic: 0,
  Version: 4,
  RingBytes: 8,
  Epoch: 64,
  Heartbeat: 128,
  DropTxMalformed: 192,
  DropTxNoDevice: 196,
  DropTxOverflow: 200,
  DropRxFull: 204,
  DropRxMalformed: 208,
  Panics: 212,
  TxHead: 512,
  TxTail: 576,
  TxSleeping: 640,
  TxWaiting: 704,
  RxHead: 768,
  RxTail: 832,
  RxSleeping: 896,
  RxWaiting: 960,
  Devices: 1024,
} as const;

/** Per-device words: octets of records taken by the child, and the value of it at which the router wants a signal. */
export const DEVICE_BYTES = 8;
export const MAX_DEVICES = (HEADER_BYTES - HeaderOffset.Devices) / DEVICE_BYTES;

export const RECORD_ALIGN = 16;
export const RECORD_HEADER = 16;
export const MAX_PACKET = 65535;
/** Length of a record that means "go on at the ring's start". */
export const WRAP_LENGTH = 0xffffffff;

/** Octet offsets in a record's header. */
export const RecordOffset = {
  Length: 0,
  Flags: 4,
  GsoType: 5,
  HdrLen: 6,
  GsoSize: 8,
  CsumStart: 10,
  CsumOffset: 12,
  Device: 14,
} as const;

/** Octets of shared memory for two rings of `ringBytes` each. */
export function regionBytes(ringBytes: number): number {
  return HEADER_BYTES + 2 * ringBytes;
}
