/**
 * A host with two ways out and programs of policy on a cgroup of its own, all on this machine's kernel:
 *
 *   cgroup <test>                    host (namespace)                     server (namespace)
 *     apps, in namespace host   ---- up0  10.1.0.2, fd01::2 ------------- 10.1.0.1, fd01::1
 *                               ---- up1  10.2.0.2, fd02::2 ------------- 10.2.0.1, fd02::1
 *
 * The server answers every address (AnyIP) with what it saw; a resolver on it answers queries with the address it was asked at.
 */
import { mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { KernelUplink } from '../../router/kernel/programs.ts';
import { Programs } from '../../router/kernel/programs.ts';
import { Addr } from '../../router/lib/addr.ts';
import { Lab, type LabProcess } from './lab.ts';

/** Where cgroup v2 is mounted; undefined = nowhere. */
export function cgroup2(): string | undefined {
  const line = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .find((l) => l.split(' ')[2] === 'cgroup2');
  return line?.split(' ')[1];
}

/** Why programs cannot be tried on this machine, or undefined when they can. */
export async function missingForPrograms(...tools: readonly string[]): Promise<string | undefined> {
  const missing = Lab.missing('python3', ...tools);
  if (missing !== undefined) return missing;
  const root = cgroup2();
  if (root === undefined) return 'no cgroup v2';
  try {
    const absent = (await Programs.probe(root)).filter((f) => f.needed && !f.present);
    return absent.length === 0 ? undefined : absent.map((f) => `${f.name}: ${f.detail}`).join(', ');
  } catch (error) {
    return `no mlshim-bpf: ${String(error).split('\n')[0]}`;
  }
}

/** Says on every port asked for what it saw; UDP and TCP, both families. `dns` packets get the asked address as an A or AAAA. */
const SERVER = `
import socket, struct, sys, threading
def tcp(s):
    while True:
        c, peer = s.accept()
        c.sendall(f"{peer[0]} {c.getsockname()[0]}\\n".encode())
        c.close()
def local(anc):
    for level, kind, data in anc:
        if level == socket.IPPROTO_IP and kind == 8: return socket.inet_ntoa(data[8:12]), [(level, kind, struct.pack("=I4s4s", 0, data[8:12], bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO: return socket.inet_ntop(socket.AF_INET6, data[:16]), [(level, kind, data[:16] + bytes(4))]
def udp(s, answer):
    while True:
        data, anc, _, peer = s.recvmsg(4096, 512)
        own, ctl = local(anc)
        s.sendmsg([answer(data, peer[0], own)], ctl, 0, peer)
def echo(data, peer, own): return f"{peer} {own}\\n".encode()
def dns(q, peer, own):
    i = 12
    while q[i]: i += q[i] + 1
    kind = struct.unpack(">H", q[i+1:i+3])[0]
    a = b""
    v6 = ":" in own
    if kind == (28 if v6 else 1): a = b"\\xc0\\x0c" + struct.pack(">HHIH", kind, 1, 0, 16 if v6 else 4) + socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, own)
    return q[:2] + b"\\x81\\x80" + q[4:6] + struct.pack(">H", 1 if a else 0) + bytes(4) + q[12:i+5] + a
def dnstcp(s):
    while True:
        c, peer = s.accept()
        n = struct.unpack(">H", c.recv(2, socket.MSG_WAITALL))[0]
        r = dns(c.recv(n, socket.MSG_WAITALL), peer[0], c.getsockname()[0])
        c.sendall(struct.pack(">H", len(r)) + r)
        c.close()
def open(family, kind, port):
    s = socket.socket(family, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        s.setsockopt(socket.IPPROTO_IPV6, 78, 1) # IPV6_FREEBIND: answer from an address that is a route only
    else: s.setsockopt(socket.IPPROTO_IP, 8, 1)
    s.bind(("", port))
    if kind == socket.SOCK_STREAM: s.listen(512)
    return s
for family in socket.AF_INET, socket.AF_INET6:
    for run, kind, port in (tcp, socket.SOCK_STREAM, 7000), (dnstcp, socket.SOCK_STREAM, 53):
        threading.Thread(target=run, args=(open(family, kind, port),), daemon=True).start()
    for answer, port in (echo, 7000), (dns, 53):
        threading.Thread(target=udp, args=(open(family, socket.SOCK_DGRAM, port), answer), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
`;

/** An app that does what its standard input says, one line of JSON per request and answer. */
const APP = `
import ctypes, errno, json, os, socket, struct, sys
BINDTODEVICE = 25
def family(a): return socket.AF_INET6 if ":" in a else socket.AF_INET
def facts(s):
    dev = s.getsockopt(socket.SOL_SOCKET, BINDTODEVICE, 16).split(b"\\0")[0].decode()
    return {"device": dev, "local": s.getsockname()[0]}
kept = {}
def run(r):
    op = r["op"]
    if op == "name":
        ctypes.CDLL(None).prctl(15, r["name"].encode(), 0, 0, 0)
        return {}
    kind = socket.SOCK_STREAM if r.get("tcp") else socket.SOCK_DGRAM
    proto = 0
    if op == "ping":
        kind, proto = socket.SOCK_DGRAM, 1
    s = kept.get(r.get("keep"))
    if s is None:
        s = socket.socket(socket.AF_INET6 if r.get("v6") else family(r["to"] if "to" in r else r["from"]), kind, proto)
        if "keep" in r: kept[r["keep"]] = s
    try:
        s.settimeout(r.get("timeout", 2))
        if "device" in r: s.setsockopt(socket.SOL_SOCKET, BINDTODEVICE, r["device"].encode())
        if "mark" in r: s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, r["mark"])
        if "from" in r: s.bind((r["from"], 0))
        if op == "bind" or op == "ping": return facts(s)
        to = (r["to"], r["port"])
        if op == "decide":
            s.setblocking(False)
            e = s.connect_ex(to)
            return {**facts(s), **({} if e in (0, errno.EINPROGRESS) else {"error": errno.errorcode[e]})}
        if op == "talk":
            s.connect(to)
            f = facts(s)
            if not r.get("tcp"): s.send(b"x")
            return {**f, "peer": s.getpeername()[0], "answer": s.recv(600).decode().strip()}
        if op == "send":
            s.sendto(b"x", to)
            data, peer = s.recvfrom(600)
            return {**facts(s), "peer": peer[0], "answer": data.decode().strip()}
        if op == "query":
            q = b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + b"\\x04name\\x04test\\x00" + struct.pack(">HH", 28 if r.get("aaaa") else 1, 1)
            if r.get("tcp"):
                s.connect(to)
                s.sendall(struct.pack(">H", len(q)) + q)
                data = s.recv(600)
                peer = s.getpeername()
                data = data[2:] or s.recv(600)
            elif r.get("connected"):
                s.connect(to)
                s.send(q)
                data = s.recv(600)
                peer = s.getpeername()
            else:
                s.sendto(q, to)
                data, peer = s.recvfrom(600)
            a = data[-16:] if r.get("aaaa") else data[-4:]
            return {**facts(s), "peer": peer[0], "port": peer[1], "answer": socket.inet_ntop(socket.AF_INET6 if r.get("aaaa") else socket.AF_INET, a)}
    except OSError as e:
        return {**facts(s), "error": errno.errorcode.get(e.errno, "timeout")}
    finally:
        if "keep" not in r: s.close()
print("ready", flush=True)
for line in sys.stdin:
    r = json.loads(line)
    answers = [run(r) for _ in range(r.get("times", 1))]
    if r.get("sum"):
        counts = {}
        for a in answers: counts[a.get("error", a["device"])] = counts.get(a.get("error", a["device"]), 0) + 1
        answers = counts
    print(json.dumps(answers), flush=True)
`;

export interface AppAnswer {
  readonly device: string;
  readonly local: string;
  readonly error?: string;
  readonly peer?: string;
  readonly port?: number;
  readonly answer?: string;
}

/** An app in the host's namespace and a cgroup below the test's. */
export class WaysApp {
  readonly process: LabProcess;
  #asked = 0;

  constructor(process: LabProcess) {
    this.process = process;
  }

  get pid(): number {
    return this.process.pid;
  }

  ask(request: Readonly<Record<string, unknown>>): Promise<AppAnswer[]> {
    return this.#ask(request);
  }

  /** How many of `times` requests ended with each error, or device. */
  sum(request: Readonly<Record<string, unknown>>): Promise<Record<string, number>> {
    return this.#ask({ ...request, sum: true });
  }

  async #ask<T>(request: Readonly<Record<string, unknown>>): Promise<T> {
    this.#asked++;
    this.process.child.stdin!.write(`${JSON.stringify(request)}\n`);
    const answers = new RegExp(`^ready\\n(?:.*\\n){${this.#asked - 1}}(.*)\\n`);
    const [, text] = await this.process.until(answers);
    return JSON.parse(text!) as T;
  }

  async one(request: Readonly<Record<string, unknown>>): Promise<AppAnswer> {
    return (await this.ask(request))[0]!;
  }
}

export const DEVICES = ['up0', 'up1'] as const;

let made = 0;

export class TwoWays {
  readonly lab = new Lab();
  readonly pinDir = join(this.lab.dir, 'pins');
  /** Folder of the test's cgroup. */
  readonly cgroup: string;
  readonly #folders: string[] = [];
  host = '';
  server = '';
  /** Of the host's namespace. */
  cookie = 0n;
  readonly #ifindices = new Map<string, number>();

  constructor() {
    this.cgroup = join(cgroup2()!, `mlshim-test-${process.pid}-${made++}`);
    this.folder(this.cgroup);
  }

  async build(): Promise<void> {
    const { lab } = this;
    this.host = await lab.namespace('h');
    this.server = await lab.namespace('s');
    for (const i of [1, 2]) {
      await lab.veth(`up${i - 1}`, this.host, `10.${i}.0.2/24`, this.server, `10.${i}.0.1/24`);
      await lab.host('ip', ['-n', this.host, 'addr', 'add', `fd0${i}::2/64`, 'dev', `up${i - 1}`, 'nodad']);
      await lab.host('ip', ['-n', this.server, 'addr', 'add', `fd0${i}::1/64`, 'dev', `up${i - 1}`, 'nodad']);
      for (const [family, via, source] of [
        ['-4', `10.${i}.0.1`, `10.${i}.0.2`],
        ['-6', `fd0${i}::1`, `fd0${i}::2`],
      ] as const) {
        const route = ['default', 'via', via, 'dev', `up${i - 1}`];
        await lab.host('ip', [family, '-n', this.host, 'route', 'add', ...route, 'metric', `${100 * i}`]);
        await lab.host('ip', [family, '-n', this.host, 'route', 'add', ...route, 'table', `${100 + i}`]);
        await lab.host('ip', [family, '-n', this.host, 'rule', 'add', 'from', source, 'lookup', `${100 + i}`]);
      }
    }
    for (const net of ['203.0.113.0/24', '198.51.100.0/24', '192.0.2.0/24', '2001:db8::/32'])
      await lab.host('ip', ['-n', this.server, 'route', 'add', 'local', net, 'dev', 'lo']);
    const cookie = 'import socket; print(int.from_bytes(socket.socket().getsockopt(1, 71, 8), "little"))';
    this.cookie = BigInt((await lab.ok(this.host, 'python3', ['-c', cookie])).trim());
    const links = JSON.parse(await lab.host('ip', ['-j', '-n', this.host, 'link'])) as {
      ifname: string;
      ifindex: number;
    }[];
    for (const { ifname, ifindex } of links) this.#ifindices.set(ifname, ifindex);
    await lab.start(this.server, 'python3', ['-c', SERVER], { isTalkedTo: true }).until(/ready/);
  }

  /** @param objects folder of the compiled programs; undefined = that of the build */
  load(objects?: string): Promise<Programs> {
    const over = objects === undefined ? {} : { objects };
    return Programs.load({ pinDir: this.pinDir, cgroup: this.cgroup, netns: this.cookie, ...over });
  }

  /** An uplink as the programs want it. */
  uplink(index: number, over: Partial<KernelUplink> = {}): KernelUplink {
    const n = index + 1;
    const [source4, source6] = [`10.${n}.0.2`, `fd0${n}::2`].map((a) => Addr.parse(a)!);
    return {
      name: `up${index}`,
      device: DEVICES[index],
      ifindex: this.ifindex(DEVICES[index]!),
      source4,
      source6,
      isVrf: false,
      addresses: [source4!, source6!],
      dns: [],
      ...over,
    };
  }

  ifindex(device: string): number {
    return this.#ifindices.get(device) ?? 0;
  }

  /** A cgroup folder below the test's; returns its id. */
  folder(path: string): bigint {
    mkdirSync(path);
    this.#folders.push(path);
    return statSync(path, { bigint: true }).ino;
  }

  async app(o: { readonly cgroup?: string; readonly uid?: number; readonly netns?: string } = {}): Promise<WaysApp> {
    const procs = join(o.cgroup ?? this.cgroup, 'cgroup.procs');
    const uid = String(o.uid ?? 0);
    const script = `echo $$ > ${procs} && exec setpriv --reuid ${uid} --clear-groups python3 -c "$1"`;
    const started = this.lab.start(o.netns ?? this.host, 'sh', ['-c', script, 'sh', APP], { isTalkedTo: true });
    await started.until(/ready/);
    return new WaysApp(started);
  }

  /** Remove cgroups that were made below the test's; their apps have ended. */
  removeFolders(): void {
    while (this.#folders.length > 1) rmdirSync(this.#folders.pop()!);
  }

  async close(): Promise<void> {
    await Programs.remove(this.pinDir);
    await this.lab.close();
    this.removeFolders();
    rmdirSync(this.cgroup);
  }
}
