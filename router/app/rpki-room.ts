/**
 * Where ROAs come from, in the routing worker: RTR caches and files feed one table; what changed in it goes to the speaker.
 * Loads in slices between other work.
 */
import type { Transport } from '../../bgp/ports.ts';
import { VrpLoader } from '../../bgp/rpki/loader.ts';
import { type RoaSource, RoaTable } from '../../bgp/rpki/roa-table.ts';
import { wanted } from '../../bgp/rpki/rtr-group.ts';
import type { VrpList } from '../../bgp/speaker.ts';
import type { RpkiConfig } from '../config/rpki.ts';
import type { RpkiFileStatus, RpkiServerStatus, RpkiStatus } from '../control/messages.ts';
import { systemClock, wallClockMs } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { RoaFile } from './roa-files.ts';
import { RtrServer } from './rtr-server.ts';

/** VRPs put into the table in one turn: about a millisecond. */
const LOAD_BUDGET = 2048;

export class RpkiRoom {
  readonly table = new RoaTable();
  readonly #servers: readonly RtrServer[];
  readonly #files: readonly { readonly file: RoaFile; readonly source: RoaSource }[];
  readonly #loader: VrpLoader;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;
  #isLoading = false;
  #isRunning = false;
  /** States as they were told to the log last. */
  readonly #told = new Map<RtrServer, string>();

  /** @param changed told the prefixes of which ROAs came or went */
  constructor(
    config: RpkiConfig,
    stack: Transport,
    random: () => number,
    log: Logger,
    changed: (changed: VrpList) => void,
  ) {
    this.#log = log;
    this.#loader = new VrpLoader(changed);
    this.#servers = config.servers.map((s) => {
      const settings = { ...s, refreshS: s.refreshS ?? config.refreshS };
      const source = this.table.addSource(s.name);
      return new RtrServer(settings, source, this.#loader, stack, random, () => this.#serversChanged());
    });
    this.#files = config.files.map((f) => {
      const source = this.table.addSource(f.name);
      const file = new RoaFile(
        f,
        config.refreshS,
        (list) => {
          this.#loader.replace(source, list, ({ changed: c }) => {
            if (c.size > 0) log.info('ROAs read', { file: f.name, roas: source.size, changed: c.size });
          });
          this.#load();
        },
        (why) => log.warn('ROA file cannot be used', { file: f.name, why, code: 'R102' }),
      );
      return { file, source };
    });
  }

  start(): void {
    this.#isRunning = true;
    for (const { file } of this.#files) file.start();
    this.#serversChanged();
  }

  stop(): void {
    this.#isRunning = false;
    clearTimeout(this.#timer);
    for (const { file } of this.#files) file.stop();
    for (const server of this.#servers) if (server.isRunning) server.stop();
  }

  /** Read every file and ask every cache now. */
  refresh(): void {
    for (const { file } of this.#files) file.refresh();
    for (const server of this.#servers) server.refresh();
  }

  show(revalidated: number): RpkiStatus {
    return {
      vrps_ipv4: this.table.size(4),
      vrps_ipv6: this.table.size(6),
      loading: this.#loader.isPending,
      revalidated,
      servers: this.#servers.map(serverStatus),
      files: this.#files.map(({ file, source }) => fileStatus(file, source)),
    };
  }

  /** Start and stop caches by preference, load what they gathered, and wake up when one wants it. */
  #serversChanged(): void {
    if (!this.#isRunning) return;
    const members = this.#servers.map((s) => ({
      preference: s.config.preference,
      isRunning: s.isRunning,
      isFailing: s.client.isFailing,
      isSynchronized: s.client.state === 'synchronized',
    }));
    for (const [i, isWanted] of wanted(members).entries()) {
      const server = this.#servers[i]!;
      if (isWanted && !server.isRunning) server.start();
      else if (!isWanted && server.isRunning) server.stop();
    }
    for (const server of this.#servers) this.#tell(server);
    this.#arm();
    this.#load();
  }

  #tell(server: RtrServer): void {
    const { client, config } = server;
    const state = client.state === 'synchronized' ? 'good' : client.isFailing ? `bad ${client.lastError?.text}` : '';
    if (state === '' || this.#told.get(server) === state) return;
    this.#told.set(server, state);
    if (state === 'good') this.#log.info('RPKI cache synchronized', { cache: config.name, roas: server.source.size });
    else this.#log.warn('RPKI cache failed', { cache: config.name, why: client.lastError?.text, code: 'R103' });
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const at = Math.min(...this.#servers.map((s) => s.client.deadline() ?? Infinity));
    if (at === Infinity) return;
    this.#timer = setTimeout(
      () => {
        for (const server of this.#servers)
          if ((server.client.deadline() ?? Infinity) <= systemClock.now()) server.tick();
        this.#arm();
      },
      Math.max(1, Math.ceil(at - systemClock.now())),
    );
  }

  #load(): void {
    if (this.#isLoading || !this.#loader.isPending) return;
    this.#isLoading = true;
    setImmediate(() => {
      this.#isLoading = false;
      this.#loader.step(LOAD_BUDGET);
      this.#load();
    });
  }
}

function serverStatus({ config, client, source }: RtrServer): RpkiServerStatus {
  const now = systemClock.now();
  const { synchronizedAt, expiresAt, lastError } = client;
  return {
    name: config.name,
    uplink: config.via ?? '',
    preference: config.preference,
    state: client.state,
    version: client.version,
    ...(client.sessionId !== undefined && { session_id: client.sessionId, serial: client.serial }),
    vrps: source.size,
    ...(synchronizedAt !== undefined && { updated_s: (now - synchronizedAt) / 1000 }),
    ...(expiresAt !== undefined && { expires_s: Math.max(0, expiresAt - now) / 1000 }),
    last_error: lastError === undefined || client.state === 'synchronized' ? '' : lastError.text,
  };
}

function fileStatus(file: RoaFile, source: RoaSource): RpkiFileStatus {
  return {
    name: file.config.name,
    vrps: source.size,
    ...(file.readAt !== undefined && { read_s: (systemClock.now() - file.readAt) / 1000 }),
    ...(file.writtenAtMs !== undefined && { age_s: Math.max(0, wallClockMs() - file.writtenAtMs) / 1000 }),
    failures: file.failures,
    last_error: file.lastError,
  };
}
