/**
 * Writes pcapng: one section, one interface per uplink, one enhanced packet block per packet, so that tcpdump and
 * wireshark show names, directions and microseconds. Read first: draft-ietf-opsawg-pcapng. Little-endian, no I/O.
 */

/**
 * Linux cooked capture: a 16-octet header with direction and protocol stands before each IP packet. Packets without any
 * header (LINKTYPE_RAW, 101) would do, but libpcap refuses files with two interfaces of that type.
 */
const LINKTYPE_LINUX_SLL = 113;
const SLL_LENGTH = 16;
const SllType = { ToUs: 0, Outgoing: 4 } as const;
const ARPHRD_NONE = 0xfffe;
const EtherType = { Ipv4: 0x0800, Ipv6: 0x86dd } as const;

const BlockType = { Section: 0x0a0d0d0a, Interface: 1, EnhancedPacket: 6 } as const;
const Option = { End: 0, IfName: 2, ShbUserAppl: 4, EpbFlags: 2 } as const;

/** epb_flags: bits 0-1 are the direction. */
const INBOUND = 1;
const OUTBOUND = 2;

export interface CapturedPacket {
  /** Index into the interfaces given to `pcapngHeader`. */
  readonly interface: number;
  /** Microseconds since 1970. */
  readonly timeUs: number;
  readonly out: boolean;
  /** Length on the wire; `bytes` may be shorter. */
  readonly length: number;
  readonly bytes: Uint8Array;
}

/** What a pcapng stream starts with. */
export function pcapngHeader(interfaces: readonly string[], snapLength: number, application: string): Uint8Array {
  const section = new Block(BlockType.Section);
  section.u32(0x1a2b3c4d);
  section.u16(1);
  section.u16(0);
  section.u32(0xffffffff); // section length: unknown
  section.u32(0xffffffff);
  section.text(Option.ShbUserAppl, application);
  const blocks = [section.done()];
  for (const name of interfaces) {
    const block = new Block(BlockType.Interface);
    block.u16(LINKTYPE_LINUX_SLL);
    block.u16(0);
    block.u32(snapLength + SLL_LENGTH);
    block.text(Option.IfName, name);
    blocks.push(block.done());
  }
  return Buffer.concat(blocks);
}

export function pcapngPackets(packets: readonly CapturedPacket[]): Uint8Array {
  return Buffer.concat(packets.map(packetBlock));
}

function packetBlock(p: CapturedPacket): Uint8Array {
  const block = new Block(BlockType.EnhancedPacket);
  block.u32(p.interface);
  block.u32(Math.floor(p.timeUs / 2 ** 32));
  block.u32(p.timeUs % 2 ** 32);
  block.u32(p.bytes.length + SLL_LENGTH);
  block.u32(p.length + SLL_LENGTH);
  block.bytes(cooked(p));
  block.u16(Option.EpbFlags);
  block.u16(4);
  block.u32(p.out ? OUTBOUND : INBOUND);
  return block.done();
}

function cooked(p: CapturedPacket): Uint8Array {
  const b = Buffer.alloc(SLL_LENGTH + p.bytes.length);
  b.writeUInt16BE(p.out ? SllType.Outgoing : SllType.ToUs, 0);
  b.writeUInt16BE(ARPHRD_NONE, 2);
  b.writeUInt16BE((p.bytes[0] ?? 0) >>> 4 === 6 ? EtherType.Ipv6 : EtherType.Ipv4, 14);
  b.set(p.bytes, SLL_LENGTH);
  return b;
}

/** One block: type and length in front, length again behind, everything padded to 32 bits. */
class Block {
  readonly #parts: Uint8Array[] = [];
  readonly #type: number;
  #hasOptions = false;

  constructor(type: number) {
    this.#type = type;
  }

  u16(v: number): void {
    const b = Buffer.alloc(2);
    b.writeUInt16LE(v);
    this.#parts.push(b);
  }

  u32(v: number): void {
    const b = Buffer.alloc(4);
    b.writeUInt32LE(v);
    this.#parts.push(b);
  }

  bytes(b: Uint8Array): void {
    this.#parts.push(b, Buffer.alloc(-b.length & 3));
  }

  text(option: number, text: string): void {
    const b = Buffer.from(text);
    this.#hasOptions = true;
    this.u16(option);
    this.u16(b.length);
    this.bytes(b);
  }

  done(): Uint8Array {
    if (this.#hasOptions || this.#type === BlockType.EnhancedPacket) this.u32(Option.End);
    const body = Buffer.concat(this.#parts);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(body.length + 12);
    const type = Buffer.alloc(4);
    type.writeUInt32LE(this.#type);
    return Buffer.concat([type, length, body, length]);
  }
}
