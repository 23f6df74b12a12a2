/** wg(8)'s text for `wg show`: its words, its order of lines, its units. Keys that wg hides are hidden here too. */

export interface WgPeerInput {
  readonly public_key: string;
  readonly has_preshared_key: boolean;
  /** Empty = not known. */
  readonly endpoint: string;
  readonly allowed_ips: readonly string[];
  /** Seconds since the last handshake; absent = never. */
  readonly handshake_age_s?: number | undefined;
  readonly rx_bytes: number;
  readonly tx_bytes: number;
  /** 0 = off. */
  readonly keepalive_s: number;
}

export interface WgInput {
  readonly name: string;
  readonly public_key: string;
  /** 0 = none. */
  readonly listen_port: number;
  readonly fwmark?: number | undefined;
  readonly peers: readonly WgPeerInput[];
}

/** What `wg show` prints for these devices. */
export function showText(devices: readonly WgInput[]): string {
  return devices.map(deviceText).join('\n');
}

function deviceText(d: WgInput): string {
  const lines = [`interface: ${d.name}`, `  public key: ${d.public_key}`, '  private key: (hidden)'];
  if (d.listen_port !== 0) lines.push(`  listening port: ${d.listen_port}`);
  if (d.fwmark !== undefined && d.fwmark !== 0) lines.push(`  fwmark: 0x${d.fwmark.toString(16)}`);
  const age = (p: WgPeerInput): number => p.handshake_age_s ?? Number.POSITIVE_INFINITY;
  // wg puts the peer heard last first, and those never heard at the end.
  const peers = [...d.peers].sort((a, b) => (age(a) === age(b) ? 0 : age(a) - age(b)));
  for (const p of peers) lines.push('', ...peerLines(p));
  return `${lines.join('\n')}\n`;
}

function peerLines(p: WgPeerInput): string[] {
  const lines = [`peer: ${p.public_key}`];
  if (p.has_preshared_key) lines.push('  preshared key: (hidden)');
  if (p.endpoint !== '') lines.push(`  endpoint: ${p.endpoint}`);
  lines.push(`  allowed ips: ${p.allowed_ips.length === 0 ? '(none)' : p.allowed_ips.join(', ')}`);
  if (p.handshake_age_s !== undefined) lines.push(`  latest handshake: ${agoText(p.handshake_age_s)}`);
  if (p.rx_bytes !== 0 || p.tx_bytes !== 0)
    lines.push(`  transfer: ${bytesText(p.rx_bytes)} received, ${bytesText(p.tx_bytes)} sent`);
  if (p.keepalive_s !== 0) lines.push(`  persistent keepalive: every ${durationText(p.keepalive_s)}`);
  return lines;
}

function agoText(seconds: number): string {
  const s = Math.floor(seconds);
  if (s < 0) return '(System clock wound backward; connection problems may ensue.)';
  return s === 0 ? 'Now' : `${durationText(s)} ago`;
}

const UNITS = [
  ['year', 365 * 24 * 3600],
  ['day', 24 * 3600],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const;

/** "1 hour, 2 minutes, 3 seconds". */
export function durationText(seconds: number): string {
  const parts: string[] = [];
  let left = Math.floor(seconds);
  for (const [name, size] of UNITS) {
    const n = Math.floor(left / size);
    left -= n * size;
    if (n > 0) parts.push(`${n} ${name}${n === 1 ? '' : 's'}`);
  }
  return parts.join(', ');
}

/** "532 B", "1.50 KiB". */
export function bytesText(n: number): string {
  if (n < 1024) return `${n} B`;
  for (const [unit, size] of [
    ['KiB', 2 ** 10],
    ['MiB', 2 ** 20],
    ['GiB', 2 ** 30],
  ] as const) {
    if (n < size * 1024) return `${(n / size).toFixed(2)} ${unit}`;
  }
  return `${(n / 2 ** 40).toFixed(2)} TiB`;
}
