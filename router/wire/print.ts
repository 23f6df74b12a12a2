/**
 * A packet as one line of text, in tcpdump's words: for logs of tests, `capture` without a file and error messages.
 * Lenient: whatever the octets are, something is printed and nothing outside them is read. Not for the packet path.
 */
import { Addr } from '../lib/addr.ts';
import { get16, get32 } from '../lib/bytes.ts';
import { Icmp4, Icmp6, icmp4Mtu, icmp6Mtu, QuotedPacket, Unreach4, Unreach6 } from './icmp.ts';
import { IPV4_HEADER_LEN, IpProto, Ipv4Frag } from './ipv4.ts';
import { IPV6_HEADER_LEN, Ipv6Walk, WalkEnd } from './ipv6.ts';
import { TcpFlag, tcpAck, tcpFlags, tcpHeaderLength, tcpSeq, tcpWindow } from './tcp.ts';

const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  [IpProto.Icmp]: 'icmp',
  [IpProto.Tcp]: 'tcp',
  [IpProto.Udp]: 'udp',
  [IpProto.Icmpv6]: 'icmp6',
};

/** Codes without words of their own are printed as numbers. */
const UNREACHABLE4: Readonly<Record<number, string>> = {
  [Unreach4.Net]: 'net {dst} unreachable',
  [Unreach4.Host]: 'host {dst} unreachable',
  [Unreach4.Protocol]: '{dst} protocol {protocol} unreachable',
  [Unreach4.Port]: '{dst} {protocol} port {port} unreachable',
  [Unreach4.FragNeeded]: '{dst} unreachable - need to frag (mtu {mtu})',
  [Unreach4.Prohibited]: 'host {dst} unreachable - admin prohibited filter',
};

const UNREACHABLE6: Readonly<Record<number, string>> = {
  [Unreach6.NoRoute]: 'destination unreachable, unreachable route {dst}',
  [Unreach6.Prohibited]: 'destination unreachable, unreachable prohibited {dst}',
  [Unreach6.BeyondScope]: 'destination unreachable, beyond scope {dst}',
  [Unreach6.Address]: 'destination unreachable, unreachable address {dst}',
  [Unreach6.Port]: 'destination unreachable, unreachable port, {dst} {protocol} port {port}',
};

/** The packet in octets `at`..`at + length` of `b` as one line. */
export function printPacket(b: Uint8Array, at: number, length: number): string {
  const version = length > 0 ? b[at]! >>> 4 : 0;
  if (version === 4 && length >= IPV4_HEADER_LEN) return print4(b, at, length);
  if (version === 6 && length >= IPV6_HEADER_LEN) return print6(b, at, length);
  return `not IP, length ${length}`;
}

function print4(b: Uint8Array, at: number, length: number): string {
  const headerLen = (b[at]! & 15) << 2;
  const src = Addr.v4(get32(b, at + 12)).toString();
  const dst = Addr.v4(get32(b, at + 16)).toString();
  if (headerLen < IPV4_HEADER_LEN || headerLen > length) return `IP ${src} > ${dst}: bad header length ${headerLen}`;
  const word = get16(b, at + 6);
  const protocol = b[at + 9]!;
  const total = Math.min(length, Math.max(headerLen, get16(b, at + 2)));
  const offset = (word & Ipv4Frag.OffsetMask) << 3;
  if (offset > 0 || (word & Ipv4Frag.More) !== 0) {
    const more = (word & Ipv4Frag.More) !== 0;
    return `IP ${src} > ${dst}: ${fragment(protocol, get16(b, at + 4), offset, more, total - headerLen)}`;
  }
  return `IP ${transport(b, at + headerLen, at + total, protocol, src, dst)}`;
}

function print6(b: Uint8Array, at: number, length: number): string {
  const address = (i: number): string =>
    Addr.v6(get32(b, i), get32(b, i + 4), get32(b, i + 8), get32(b, i + 12)).toString();
  const src = address(at + 8);
  const dst = address(at + 24);
  const end = at + Math.min(length, IPV6_HEADER_LEN + get16(b, at + 4));
  const walk = new Ipv6Walk();
  const how = walk.skim(b, at, end);
  const f = walk.fragmentAt;
  if (f >= 0) {
    const word = get16(b, f + 2);
    const text = fragment(b[f]!, get32(b, f + 4) >>> 0, word & 0xfff8, (word & 1) !== 0, end - f - 8);
    return `IP6 ${src} > ${dst}: ${text}`;
  }
  if (how === WalkEnd.NoNext) return `IP6 ${src} > ${dst}: no next header`;
  if (how !== WalkEnd.Transport) return `IP6 ${src} > ${dst}: bad extension headers`;
  return `IP6 ${transport(b, walk.transportAt, end, walk.protocol, src, dst)}`;
}

function fragment(protocol: number, id: number, offset: number, more: boolean, length: number): string {
  return `${protocolName(protocol)} frag (id ${id}, offset ${offset}${more ? ', more' : ''}), length ${length}`;
}

function protocolName(protocol: number): string {
  return PROTOCOL_NAMES[protocol] ?? `ip-proto-${protocol}`;
}

function transport(b: Uint8Array, at: number, end: number, protocol: number, src: string, dst: string): string {
  const length = end - at;
  if (protocol === IpProto.Udp && length >= 8)
    return `${src}.${get16(b, at)} > ${dst}.${get16(b, at + 2)}: UDP, length ${length - 8}`;
  if (protocol === IpProto.Tcp && tcpHeaderLength(b, at, length) > 0)
    return `${src}.${get16(b, at)} > ${dst}.${get16(b, at + 2)}: ${tcp(b, at, length)}`;
  const pair = `${src} > ${dst}: `;
  if (protocol === IpProto.Icmp && length >= 8) return pair + icmp4(b, at, end);
  if (protocol === IpProto.Icmpv6 && length >= 8) return pair + icmp6(b, at, end);
  if (length < 0 || PROTOCOL_NAMES[protocol] !== undefined) return `${pair}${protocolName(protocol)} truncated`;
  return `${pair}${protocolName(protocol)}, length ${length}`;
}

function tcp(b: Uint8Array, at: number, length: number): string {
  const flags = tcpFlags(b, at);
  const payload = length - tcpHeaderLength(b, at, length);
  const letters = [
    [TcpFlag.Syn, 'S'],
    [TcpFlag.Fin, 'F'],
    [TcpFlag.Rst, 'R'],
    [TcpFlag.Psh, 'P'],
    [TcpFlag.Urg, 'U'],
    [TcpFlag.Ece, 'E'],
    [TcpFlag.Cwr, 'W'],
    [TcpFlag.Ack, '.'],
  ] as const;
  const shown = letters.map(([bit, letter]) => ((flags & bit) !== 0 ? letter : '')).join('') || 'none';
  const seq = tcpSeq(b, at) >>> 0;
  const parts = [`Flags [${shown}]`];
  if (payload > 0) parts.push(`seq ${seq}:${(seq + payload) % 2 ** 32}`);
  else if ((flags & (TcpFlag.Syn | TcpFlag.Fin | TcpFlag.Rst)) !== 0) parts.push(`seq ${seq}`);
  if ((flags & TcpFlag.Ack) !== 0) parts.push(`ack ${tcpAck(b, at) >>> 0}`);
  return `${parts.join(', ')}, win ${tcpWindow(b, at)}, length ${payload}`;
}

function icmp4(b: Uint8Array, at: number, end: number): string {
  const type = b[at]!;
  const code = b[at + 1]!;
  const tail = `, length ${end - at}`;
  const echo = `, id ${get16(b, at + 4)}, seq ${get16(b, at + 6)}${tail}`;
  if (type === Icmp4.Echo) return `ICMP echo request${echo}`;
  if (type === Icmp4.EchoReply) return `ICMP echo reply${echo}`;
  if (type === Icmp4.TimeExceeded)
    return `ICMP ${code === 0 ? 'time exceeded in-transit' : 'ip reassembly time exceeded'}${tail}`;
  const template = type === Icmp4.Unreachable ? UNREACHABLE4[code] : undefined;
  if (template === undefined) return `ICMP type ${type} code ${code}${tail}`;
  return `ICMP ${fill(template, b, at + 8, end, true, icmp4Mtu(b, at))}${tail}`;
}

function icmp6(b: Uint8Array, at: number, end: number): string {
  const type = b[at]!;
  const code = b[at + 1]!;
  const tail = `, length ${end - at}`;
  const echo = `, id ${get16(b, at + 4)}, seq ${get16(b, at + 6)}${tail}`;
  if (type === Icmp6.Echo) return `ICMP6, echo request${echo}`;
  if (type === Icmp6.EchoReply) return `ICMP6, echo reply${echo}`;
  if (type === Icmp6.PacketTooBig) return `ICMP6, packet too big, mtu ${icmp6Mtu(b, at)}${tail}`;
  if (type === Icmp6.TimeExceeded) return `ICMP6, time exceeded ${code === 0 ? 'in-transit' : 'in reassembly'}${tail}`;
  if (type === Icmp6.ParameterProblem)
    return `ICMP6, parameter problem, code ${code}, octet ${get32(b, at + 4)}${tail}`;
  const template = type === Icmp6.Unreachable ? UNREACHABLE6[code] : undefined;
  if (template === undefined) return `ICMP6, type ${type} code ${code}${tail}`;
  return `ICMP6, ${fill(template, b, at + 8, end, false, 0)}${tail}`;
}

/** Put what the error quotes into its sentence. */
function fill(template: string, b: Uint8Array, at: number, end: number, isV4: boolean, mtu: number): string {
  const q = new QuotedPacket();
  if (!q.parse(b, at, end, isV4)) return template.replace(/ ?\{\w+\}/g, '');
  const values: Readonly<Record<string, string>> = {
    dst: Addr.fromWords(q.d0, q.d1, q.d2, q.d3).toString(),
    protocol: protocolName(q.protocol),
    port: String(q.dstPort),
    mtu: String(mtu),
  };
  return template.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '');
}
