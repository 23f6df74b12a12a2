/**
 * A large file on the far side of several ways, and apps that open many connections for it: aria2c from a web server,
 * transmission from peers of its own kind. What arrives is read from the shapers of the ways; the server tells where each
 * connection came from.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { best } from './iperf.ts';
import { Lab, type LabProcess } from './lab.ts';
import { randomFile } from './peer.ts';
import type { Router } from './router.ts';

/** Programs that this needs, for `Lab.missing()`. */
export const DOWNLOADERS = ['tc', 'ss', 'aria2c', 'transmission-cli', 'transmission-daemon', 'transmission-create'];

/** A way from the server to the host. */
export interface Way {
  readonly name: string;
  /** The app's address there, as the server sees it. */
  readonly v4: string;
  /** Where its traffic towards the host is shaped. */
  readonly shaper: { readonly ns: string; readonly device: string };
}

/** A host with a router and several ways to a server. */
export interface Net {
  readonly lab: Lab;
  readonly router: Router;
  readonly ways: readonly Way[];
  /** The server's IPv4 addresses, one for each peer; the first one is the web server's. */
  readonly addresses: readonly string[];
  serve(command: string, args: readonly string[]): LabProcess;
  /** Let nothing pass through a way any more, or again. */
  cut(name: string, isCut: boolean): Promise<void>;
  /** Wait until uplinks are as said. */
  usable(wanted: Readonly<Record<string, boolean>>): Promise<void>;
}

/** A downloader at work. */
export interface Download {
  readonly app: LabProcess;
  readonly file: string;
  /** Resolves when all of it is there. */
  whole(): Promise<void>;
}

interface Arrival {
  /** Mbit/s of each way while the middle of the file came, frames as the shaper counts them; 0 when it was looked at too rarely. */
  readonly mbit: readonly number[];
  /** Milliseconds that took. */
  readonly tookMs: number;
  /** How many connections the server saw from each address of the host. */
  readonly connections: Readonly<Record<string, number>>;
}

/** What the shapers have let through by then, octets by way. */
interface Sample {
  readonly atMs: number;
  readonly sent: readonly number[];
  readonly connections: readonly Connection[];
}

/** The other end of a connection that the server has. */
interface Connection {
  readonly address: string;
  readonly port: number;
}

const WEB_PORT = 8080;
const TRACKER_PORT = 6969;
const PEER_PORT = 51413;
/** The start of a download and its last pieces are not measured. */
const MIDDLE = { from: 0.2, to: 0.85 } as const;
/** How often shapers and connections are looked at. */
const EVERY_MS = 100;
/** A torrent, on a machine that is busy besides. */
const LONGEST_MS = 120_000;
/** Characters of an app's last words. */
const SHOWN = 2_000;
const CONNECTIONS = `ss -Htn state established '( sport = :${WEB_PORT} or sport = :${PEER_PORT} )'`;
/** A line of ss: octets queued each way, the server's end, the other end. */
const CONNECTION = /^\d+ +\d+ +\S+ +(\S+):(\d+)/gm;
/** A torrent's pieces, KiB. */
const PIECE = 128;
/** Ends every connection after its answer; in the middle of it, after 1 MiB, where the path asks for that: new flows all the time. */
const WEB_SERVER = `
  const bytes = require('node:fs').readFileSync(process.argv[1]);
  const server = require('node:http').createServer((request, response) => {
    const [, first = '0', last = ''] = /^bytes=(\\d+)-(\\d*)$/.exec(request.headers.range ?? '') ?? [];
    const end = last === '' ? bytes.length - 1 : Number(last);
    response.writeHead(request.headers.range === undefined ? 200 : 206, {
      'Accept-Ranges': 'bytes', Connection: 'close', 'Content-Length': end - Number(first) + 1,
      'Content-Range': 'bytes ' + first + '-' + end + '/' + bytes.length,
    });
    const wanted = bytes.subarray(Number(first), end + 1);
    if (request.url !== '/interrupted' || wanted.length <= 1 << 20) response.end(wanted);
    else response.write(wanted.subarray(0, 1 << 20), () => response.destroy());
  });
  server.listen(${WEB_PORT}, process.argv[2], () => console.log('ready'));
`;
/** BEP 3 and BEP 23: whoever asks is told the peers; those that have all (left=0) are noted. */
const TRACKER_SERVER = `
  const addresses = process.argv.slice(1);
  const peers = Buffer.concat(addresses.map((a) => Buffer.from([...a.split('.').map(Number), ${PEER_PORT} >> 8, ${PEER_PORT} & 255])));
  require('node:http').createServer((request, response) => {
    const left = /[?&]left=(\\d+)/.exec(request.url)?.[1];
    console.log('left ' + left + ' ' + /[?&]key=([^&]*)/.exec(request.url)?.[1] + '.');
    response.end(Buffer.concat([Buffer.from('d8:intervali5e5:peers' + peers.length + ':'), peers, Buffer.from('e')]));
  }).listen(${TRACKER_PORT}, addresses[0], () => console.log('ready'));
`;

/** The file, offered by both kinds of servers, and the downloads of it. */
export class FarFile {
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
  readonly #net: Net;

  /** @param size octets, of random content */
  constructor(net: Net, size: number) {
    this.#net = net;
    this.size = size;
    mkdirSync(join(net.lab.dir, 'far'));
    this.path = join(net.lab.dir, 'far', 'payload.bin');
    this.sha256 = randomFile(this.path, size);
  }

  /** Where the web server has it. */
  get url(): string {
    return `http://${this.#net.addresses[0]}:${WEB_PORT}/`;
  }

  get #torrent(): string {
    return `${this.path}.torrent`;
  }

  /** Offer it over HTTP. */
  async web(): Promise<void> {
    const server = [process.execPath, '-e', WEB_SERVER, this.path, this.#net.addresses[0]!] as const;
    await this.#net.serve(server[0], server.slice(1)).until(/ready/);
  }

  /** Offer it by a peer at each address of the server. */
  async seed(): Promise<void> {
    const { lab, serve, addresses } = this.#net;
    const announce = `http://${addresses[0]}:${TRACKER_PORT}/announce`;
    await lab.host('transmission-create', ['-o', this.#torrent, '-t', announce, '-s', String(PIECE), this.path]);
    const tracker = serve(process.execPath, ['-e', TRACKER_SERVER, ...addresses]);
    await tracker.until(/ready/);
    for (const address of addresses) this.#peer(address);
    const haveIt = (): number => new Set(tracker.stdout.match(/^left 0 .*$/gm)).size;
    await lab.eventually('all peers have it', async () => haveIt() === addresses.length);
  }

  #peer(address: string): void {
    const folder = join(this.#net.lab.dir, `peer-${address}`);
    const watched = join(folder, 'watch');
    mkdirSync(watched, { recursive: true });
    copyFileSync(this.#torrent, join(watched, basename(this.#torrent)));
    writeSettings(folder, {
      'bind-address-ipv4': address,
      'download-dir': dirname(this.path),
      'watch-dir': watched,
      'watch-dir-enabled': true,
      'peer-port': PEER_PORT,
    });
    this.#net.serve('transmission-daemon', ['--foreground', '--config-dir', folder]);
  }

  /**
   * Start aria2c under the router.
   * @param name of the file it makes @param path `interrupted`: the server ends each answer early
   * @param more words of its command line
   */
  aria2(name: string, path: '' | 'interrupted' = '', ...more: readonly string[]): Download {
    const { router } = this.#net;
    const options = ['-x16', '-s16', '-k1M', '--file-allocation=none', '--max-tries=50', '--retry-wait=1', '--no-conf'];
    const app = router.appStart('aria2c', [...options, ...more, '-d', router.dir, '-o', name, this.url + path]);
    const whole = async (): Promise<void> => {
      const status = await app.exit();
      if (status !== 0) throw new Error(`aria2c ended with ${status}: ${app.stdout}${app.stderr}`);
    };
    return { app, file: join(router.dir, name), whole };
  }

  /**
   * Start transmission under the router; it stays, as a peer, until it is stopped.
   * @param name of the folder it makes @param more words of its command line
   */
  transmission(name: string, ...more: readonly string[]): Download {
    const { router, lab } = this.#net;
    const folder = join(router.dir, name);
    mkdirSync(folder);
    writeSettings(folder, {});
    const torrent = join(folder, basename(this.#torrent));
    copyFileSync(this.#torrent, torrent);
    for (const path of [folder, join(folder, 'settings.json'), torrent]) router.own(path);
    const app = router.appStart('transmission-cli', ['-M', '-et', '-g', folder, '-w', folder, ...more, torrent]);
    const file = join(folder, basename(this.path));
    const whole = async (): Promise<void> => {
      let hasEnded = false;
      void app.exit().then(() => {
        hasEnded = true;
      });
      await lab.eventually(
        'transmission has it or ends',
        async () => hasEnded || existsSync(file),
        LONGEST_MS * Lab.patience,
      );
      if (hasEnded) throw new Error(`transmission ended: ${(app.stdout + app.stderr).slice(-SHOWN)}`);
    };
    return { app, file, whole };
  }

  /** Wait until a download is complete. Rejects when it fails, or has got other octets. */
  async arrives({ file, whole }: Download): Promise<void> {
    await whole();
    const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
    if (sha256 !== this.sha256) throw new Error(`${file} is not what the server has`);
  }

  /** As `arrives`, and measure how it comes. */
  async #measure(download: Download): Promise<Arrival> {
    let isOver = false;
    const arrives = this.arrives(download).finally(() => {
      isOver = true;
    });
    arrives.catch(() => undefined); // awaited below
    const samples: Sample[] = [];
    while (!isOver) {
      samples.push(await this.#sample());
      await sleep(EVERY_MS * Lab.patience);
    }
    await arrives;
    return this.#arrival(samples);
  }

  /**
   * Download until enough arrives, or that was tried often; logs each try.
   * @param start starts one under a name of its own @returns Mbit/s of all ways together
   */
  sum(enough: number, log: (line: string) => void, start: (name: string) => Download): Promise<number> {
    let tries = 0;
    return best(enough, async () => {
      const download = start(`try-${tries++}`);
      const { mbit, tookMs, connections } = await this.#measure(download);
      await download.app.stop();
      log(`${mbit.map((r) => r.toFixed(1)).join(' + ')} Mbit/s in ${tookMs.toFixed(0)} ms`);
      log(`connections by local address: ${JSON.stringify(connections)}`);
      return mbit.reduce((all, r) => all + r, 0);
    });
  }

  #arrival(samples: readonly Sample[]): Arrival {
    const part = (s: Sample): number => s.sent.reduce((sum, n, k) => sum + n - samples[0]!.sent[k]!, 0) / this.size;
    const from = samples.find((s) => part(s) >= MIDDLE.from)!;
    const to = samples.findLast((s) => part(s) <= MIDDLE.to)!;
    const tookMs = to.atMs - from.atMs;
    const connections: Record<string, number> = {};
    const seen = new Map(samples.flatMap((s) => s.connections).map((c) => [keyOf(c), c]));
    for (const { address } of seen.values()) {
      connections[address] = (connections[address] ?? 0) + 1;
    }
    const rate = (n: number, k: number): number => (tookMs > 0 ? ((n - from.sent[k]!) * 8) / 1000 / tookMs : 0);
    return { mbit: to.sent.map(rate), tookMs, connections };
  }

  async #sample(): Promise<Sample> {
    const { ways, serve, addresses } = this.#net;
    const shapers = ways.map(({ shaper }) => `tc -n ${shaper.ns} -s -j qdisc show dev ${shaper.device}`);
    const began = performance.now();
    const look = serve('sh', ['-c', [...shapers, CONNECTIONS].join(' && ')]);
    if ((await look.exit()) !== 0) throw new Error(`${look.name}: ${look.stderr}`);
    const connections = [...look.stdout.matchAll(CONNECTION)].map(([, address, port]) => ({
      address: address!,
      port: Number(port),
    }));
    return {
      atMs: (began + performance.now()) / 2,
      sent: [...look.stdout.matchAll(/"bytes":(\d+)/g)].map((m) => Number(m[1])),
      // Peers try each other, too.
      connections: connections.filter(({ address }) => !addresses.includes(address)),
    };
  }

  /** Wait for a connection from an address. @param known those that are not meant */
  async #connects(from: string, known: readonly Connection[] = []): Promise<void> {
    const before = new Set(known.map(keyOf));
    await this.#net.lab.eventually(`another connection from ${from}`, async () =>
      (await this.#sample()).connections.some((c) => c.address === from && !before.has(keyOf(c))),
    );
  }

  /**
   * Cut one way, then the other, while a download goes on that connects all the time: its connections move each time, also
   * to the way that was cut before and is back.
   */
  async cutInTurn(download: Download): Promise<void> {
    const { ways, cut, usable } = this.#net;
    const all = Object.fromEntries(ways.map(({ name }) => [name, true]));
    for (const { v4 } of ways) await this.#connects(v4);
    for (const [one, other] of [ways, ways.toReversed()] as [Way, Way][]) {
      await cut(one.name, true);
      await usable({ ...all, [one.name]: false });
      const { connections } = await this.#sample();
      await this.#connects(other.v4, connections);
      await cut(one.name, false);
      await usable(all);
    }
    await this.arrives(download);
  }
}

const keyOf = ({ address, port }: Connection): string => `${address}:${port}`;

/** Plain TCP between peers that the tracker tells of, nothing else. */
function writeSettings(folder: string, more: Readonly<Record<string, unknown>>): void {
  const off = ['utp', 'dht', 'lpd', 'pex', 'rpc', 'port-forwarding'].map((what) => [`${what}-enabled`, false]);
  writeFileSync(join(folder, 'settings.json'), JSON.stringify({ ...Object.fromEntries(off), encryption: 0, ...more }));
}
