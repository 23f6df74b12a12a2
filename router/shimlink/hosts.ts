/**
 * The two lookup files of a host, given as text by the edge: hosts(5) and services(5).
 * Lines that make no sense are skipped, as the C library does.
 */
import { Addr, type Family } from '../lib/addr.ts';
import { dnsNameKey } from '../wire/dns.ts';

export interface HostsEntry {
  readonly addr: Addr;
  /** The first name of its line. */
  readonly canonicalName: string;
}

/** Names and addresses of a hosts file. */
export class HostsFile {
  readonly #byName = new Map<string, HostsEntry[]>();
  readonly #byAddr = new Map<string, string>();

  constructor(text: string) {
    for (const fields of lines(text)) {
      const addr = Addr.parse(fields[0]!);
      const canonicalName = fields[1];
      if (addr === undefined || canonicalName === undefined) continue;
      if (!this.#byAddr.has(String(addr))) this.#byAddr.set(String(addr), canonicalName);
      for (const name of fields.slice(1)) {
        const key = dnsNameKey(name);
        const known = this.#byName.get(key) ?? [];
        if (!known.some((e) => e.addr.equals(addr))) known.push({ addr, canonicalName });
        this.#byName.set(key, known);
      }
    }
  }

  /** Addresses of a name in the order of the file. */
  lookup(name: string, families: readonly Family[]): readonly HostsEntry[] {
    const all = this.#byName.get(dnsNameKey(name.replace(/\.$/, ''))) ?? [];
    return all.filter((e) => families.includes(e.addr.family));
  }

  reverse(addr: Addr): string | undefined {
    return this.#byAddr.get(String(addr));
  }
}

export type ServiceProtocol = 'tcp' | 'udp';

/** Used where the file has no line for them; assigned by IANA. */
const COMMON_SERVICES = `ftp 21/tcp
ssh 22/tcp
smtp 25/tcp
domain 53/tcp
domain 53/udp
tftp 69/udp
http 80/tcp
pop3 110/tcp
ntp 123/udp
imap2 143/tcp imap
snmp 161/udp
bgp 179/tcp
ldap 389/tcp
https 443/tcp
https 443/udp
syslog 514/udp
imaps 993/tcp
pop3s 995/tcp
`;

/** Service names and ports. */
export class ServicesFile {
  readonly #ports = new Map<string, number>();
  readonly #names = new Map<string, string>();

  constructor(text: string) {
    for (const fields of [...lines(text), ...lines(COMMON_SERVICES)]) {
      const [, digits, protocol] = /^(\d{1,5})\/(tcp|udp)$/.exec(fields[1] ?? '') ?? [];
      const port = Number(digits);
      if (protocol === undefined || port > 0xffff) continue;
      const byPort = `${port}/${protocol}`;
      if (!this.#names.has(byPort)) this.#names.set(byPort, fields[0]!);
      for (const name of [fields[0]!, ...fields.slice(2)])
        if (!this.#ports.has(`${name}/${protocol}`)) this.#ports.set(`${name}/${protocol}`, port);
    }
  }

  port(name: string, protocol: ServiceProtocol): number | undefined {
    return this.#ports.get(`${name}/${protocol}`);
  }

  name(port: number, protocol: ServiceProtocol): string | undefined {
    return this.#names.get(`${port}/${protocol}`);
  }
}

/** Fields of the lines that have any, comments removed. */
function lines(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map((line) => line.split(/\s+/));
}
